#include "controller/images/download.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "controller/base/bytes_text.h"
#include "controller/base/fd.h"
#include "controller/images/cache_folder.h"
#include "controller/images/durable_file.h"
#include "state/file.h"

namespace rum {
namespace {

constexpr size_t kTextLimit = 4 << 20;  // bytes; checksum files are some hundred kB at most
// RFC 9110, 8.8.2.2: a file that changed so shortly before may change once more within a second.
constexpr time_t kSettled = 60;

constexpr int64_t kSyncEach = int64_t{64} << 20;  // bytes
constexpr int64_t kWorthASync = 1 << 18;          // bytes; less is as soon fetched again

std::string AboutPath(const std::string& part) { return part + ".json"; }

// Empty: it cannot be known.
std::string HostBoot() { return ReadFile("/proc/sys/kernel/random/boot_id").value_or(""); }

// What If-Range may name: only a validator that changes with every byte.
std::string StrongValidator(const HttpReply& reply) {
  if (!reply.etag.empty() && !absl::StartsWith(reply.etag, "W/")) return reply.etag;
  const time_t modified = curl_getdate(reply.last_modified.c_str(), nullptr);
  const time_t date = curl_getdate(reply.date.c_str(), nullptr);
  return modified != -1 && date != -1 && date - modified >= kSettled ? reply.last_modified : "";
}

struct ContentRange {
  int64_t first = 0, last = 0, total = -1;
};

// "bytes 100-199/200" or "bytes 100-199/*".
bool ParseContentRange(const std::string& text, ContentRange* range) {
  const std::vector<std::string> words = absl::StrSplit(text, absl::ByAnyChar(" -/"));
  return words.size() == 4 && absl::AsciiStrToLower(words[0]) == "bytes" &&
         absl::SimpleAtoi(words[1], &range->first) && absl::SimpleAtoi(words[2], &range->last) &&
         (words[3] == "*" || absl::SimpleAtoi(words[3], &range->total)) && range->first >= 0 &&
         range->first <= range->last && (range->total == -1 || range->last < range->total);
}

// The file that the bytes go to, and what it is a beginning of.
class Part {
 public:
  explicit Part(const DownloadRequest& request) : request_(request) {}

  absl::Status Open() {
    fd_ = Fd(open(request_.part.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    struct stat file;
    if (!fd_.ok() || fstat(fd_.get(), &file) != 0) return DiskError(errno, request_.part);
    if (!LoadJson(AboutPath(request_.part), &about_).ok() || !IsOfUrl(about_, request_.url) ||
        about_.format() != 1 || about_.if_range().empty()) {
      return absl::OkStatus();
    }
    offset_ = file.st_size;
    // What was not synced when the host went down may be anything by now.
    if (about_.boot().empty() || about_.boot() != HostBoot()) {
      offset_ = std::min(offset_, about_.synced());
    }
    // A whole one is asked about like any other: a range must not be empty.
    if (about_.total() > 0 && offset_ >= about_.total()) offset_ = about_.total() - 1;
    return absl::OkStatus();
  }

  std::vector<std::string> Conditions() const {
    std::vector<std::string> headers;
    if (!request_.cached.etag().empty()) {
      headers.push_back(absl::StrCat("If-None-Match: ", request_.cached.etag()));
    } else if (!request_.cached.last_modified().empty()) {
      headers.push_back(absl::StrCat("If-Modified-Since: ", request_.cached.last_modified()));
    }
    if (offset_ > 0) {
      headers.push_back(absl::StrCat("Range: bytes=", offset_, "-"));
      headers.push_back(absl::StrCat("If-Range: ", about_.if_range()));
    }
    return headers;
  }

  // Aborted: the reply does not continue the part.
  absl::Status Begin(const HttpReply& reply) {
    begun_ = true;
    if (reply.status == 206) return Continue(reply);
    if (!reply.end_is_marked && !request_.has_checksum) {
      return absl::UnavailableError(
          absl::StrCat(ShownUrl(request_.url),
                       ": the server says no length, so that a download that breaks off ",
                       "would look like a whole one; say image.sha256"));
    }
    end_ = reply.content_length;
    return StartAnew(reply);
  }

  absl::Status Write(std::string_view bytes) {
    if (end_ >= 0 && offset_ + static_cast<int64_t>(bytes.size()) > end_) {
      Forget().IgnoreError();
      return absl::UnavailableError(absl::StrCat(ShownUrl(request_.url), ": more than the ", end_,
                                                 " bytes that the server announced"));
    }
    if (absl::Status status = WriteAt(fd_.get(), offset_, bytes, request_.part); !status.ok()) {
      return status;
    }
    offset_ += static_cast<int64_t>(bytes.size());
    return offset_ - about_.synced() < kSyncEach ? absl::OkStatus() : Sync();
  }

  // What has come is there after a power cut as well.
  absl::Status Sync() {
    if (fsync(fd_.get()) != 0) return DiskError(errno, request_.part);
    about_.set_synced(offset_);
    return SaveJson(about_, AboutPath(request_.part));
  }

  absl::Status Finish() {
    if (end_ >= 0 && offset_ != end_) {
      return absl::UnavailableError(
          absl::StrCat(ShownUrl(request_.url), ": ended after ", offset_, " of ", end_, " bytes"));
    }
    if (ftruncate(fd_.get(), offset_) != 0 || fsync(fd_.get()) != 0) {
      return DiskError(errno, request_.part);
    }
    return absl::OkStatus();
  }

  // Of a download that breaks off.
  void Leave() {
    if (begun_ && offset_ - about_.synced() >= kWorthASync) Sync().IgnoreError();
  }

  // The next request asks for all of it.
  absl::Status Forget() {
    offset_ = 0;
    about_.Clear();
    unlink(AboutPath(request_.part).c_str());
    if (ftruncate(fd_.get(), 0) != 0) return DiskError(errno, request_.part);
    return absl::OkStatus();
  }

  bool begun() const { return begun_; }
  int64_t offset() const { return offset_; }
  int64_t end() const { return end_; }
  const Validator& validator() const { return about_.validator(); }

 private:
  absl::Status Continue(const HttpReply& reply) {
    ContentRange range;
    if (!ParseContentRange(reply.content_range, &range) || offset_ == 0 || range.first != offset_ ||
        !IsSameVersion(reply, range.total)) {
      return absl::AbortedError(absl::StrCat(ShownUrl(request_.url),
                                             ": the server answered with another part (",
                                             reply.content_range, ") than the one asked for"));
    }
    end_ = about_.total() >= 0 ? about_.total() : range.total;
    if (ftruncate(fd_.get(), offset_) != 0) return DiskError(errno, request_.part);
    if (about_.boot() == HostBoot()) return absl::OkStatus();
    about_.set_boot(HostBoot());
    about_.set_synced(offset_);
    return SaveJson(about_, AboutPath(request_.part));
  }

  bool IsSameVersion(const HttpReply& reply, int64_t total) const {
    const Validator& ours = about_.validator();
    return (reply.etag.empty() || ours.etag().empty() || reply.etag == ours.etag()) &&
           (reply.last_modified.empty() || ours.last_modified().empty() ||
            reply.last_modified == ours.last_modified()) &&
           (total < 0 || about_.total() < 0 || total == about_.total());
  }

  // Emptied before it is said what comes: a crash in between leaves a beginning of anything.
  absl::Status StartAnew(const HttpReply& reply) {
    offset_ = 0;
    if (ftruncate(fd_.get(), 0) != 0) return DiskError(errno, request_.part);
    about_.Clear();
    about_.set_format(1);
    SetUrl(request_.url, &about_);
    about_.mutable_validator()->set_etag(reply.etag);
    about_.mutable_validator()->set_last_modified(reply.last_modified);
    about_.set_if_range(StrongValidator(reply));
    about_.set_total(reply.content_length);
    about_.set_boot(HostBoot());
    return SaveJson(about_, AboutPath(request_.part));
  }

  const DownloadRequest& request_;
  Fd fd_;
  PartialDownload about_;
  int64_t offset_ = 0;
  int64_t end_ = -1;  // bytes of the whole file; -1: not said
  bool begun_ = false;
};

std::string LeftText(int64_t seconds) {
  if (seconds < 120) return absl::StrCat(seconds, " s left");
  return seconds < 7200 ? absl::StrCat(seconds / 60, " min left")
                        : absl::StrCat(seconds / 3600, " h left");
}

void Tell(const DownloadRequest& request, const Part& part, int64_t speed, Progress* progress) {
  if (!part.begun() || !progress->Due()) return;
  const std::string done = part.end() > 0
                               ? absl::StrFormat("%d %% of %s", part.offset() * 100 / part.end(),
                                                 BytesText(static_cast<double>(part.end())))
                               : BytesText(static_cast<double>(part.offset()));
  const std::string left = part.end() > 0 && speed > 0
                               ? absl::StrCat(", ", LeftText((part.end() - part.offset()) / speed))
                               : "";
  progress->Update(absl::StrCat("downloading ", request.name, ": ", done, ", ",
                                BytesText(static_cast<double>(speed)), "/s", left));
}

// What a status means for whoever named the URL.
const char* StatusMeaning(long status) {
  switch (status) {
    case 401:
    case 403:
      return ": it wants a login for that, or does not give it to this host";
    case 404:
    case 410:
      return ": it has no such file; is the URL right (image.base)?";
    case 407:
      return ": that is the proxy, and it wants a login (https_proxy in the controller's "
             "environment)";
    case 429:
      return ": it was asked too often; try again later";
    default:
      return status >= 500 ? ": that is its own trouble; try again later" : "";
  }
}

absl::Status WhyNoVersion(const HttpReply& reply) {
  const std::string text = absl::StrCat(ShownUrl(reply.url), ": the server answered with status ",
                                        reply.status, StatusMeaning(reply.status));
  return reply.status == 404 || reply.status == 410 ? absl::NotFoundError(text)
                                                    : absl::UnavailableError(text);
}

// One exchange. Aborted: the part is of no use, ask once more without it.
absl::StatusOr<Download> Exchange(const DownloadRequest& request, Part* part, Progress* progress) {
  const bool continued = part->offset() > 0;
  const HttpRequest get{request.url,
                        request.has_checksum,
                        part->Conditions(),
                        [&](const HttpReply& reply) { return part->Begin(reply); },
                        [&](std::string_view bytes) { return part->Write(bytes); },
                        [&](int64_t speed) {
                          Tell(request, *part, speed, progress);
                          return progress->GoOn();
                        }};
  const absl::StatusOr<HttpReply> reply = HttpGet(get, request.limits);
  Download download;
  if (!reply.ok()) {
    if (part->begun() || !absl::IsUnavailable(reply.status())) return reply.status();
    download.outcome = Download::Outcome::kNoVersion;
    download.why = reply.status();
  } else if (reply->status == 304 && request.cached.ByteSizeLong() > 0) {
    download.outcome = Download::Outcome::kUnchanged;
  } else if (reply->status == 416 && continued) {
    return absl::AbortedError(absl::StrCat(ShownUrl(request.url), ": status 416"));
  } else if (!part->begun()) {
    download.outcome = Download::Outcome::kNoVersion;
    download.why = WhyNoVersion(*reply);
  } else {
    if (absl::Status status = part->Finish(); !status.ok()) return status;
    download.validator = part->validator();
  }
  return download;
}

}  // namespace

absl::StatusOr<Download> DownloadPart(const DownloadRequest& request, Progress* progress) {
  Part part(request);
  if (absl::Status status = part.Open(); !status.ok()) return status;
  absl::StatusOr<Download> download = Exchange(request, &part, progress);
  if (absl::IsAborted(download.status())) {
    if (absl::Status status = part.Forget(); !status.ok()) return status;
    download = Exchange(request, &part, progress);
  }
  if (!download.ok()) part.Leave();
  // A server that sends parts that nobody asked for.
  if (absl::IsAborted(download.status())) {
    return absl::UnavailableError(std::string(download.status().message()));
  }
  return download;
}

absl::Status RemovePart(const std::string& part) {
  for (const std::string& path : {AboutPath(part), AboutPath(part) + ".new", part}) {
    if (unlink(path.c_str()) != 0 && errno != ENOENT) return DiskError(errno, path);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> DownloadText(const std::string& url, const HttpLimits& limits,
                                         const Progress& progress) {
  std::string text;
  const auto append = [&](std::string_view bytes) {
    if (text.size() + bytes.size() > kTextLimit) {
      return absl::UnavailableError(
          absl::StrCat(ShownUrl(url), ": more than ", kTextLimit, " bytes"));
    }
    text.append(bytes);
    return absl::OkStatus();
  };
  const HttpRequest get{url,    false,
                        {},     [](const HttpReply&) { return absl::OkStatus(); },
                        append, [&progress](int64_t) { return progress.GoOn(); }};
  const absl::StatusOr<HttpReply> reply = HttpGet(get, limits);
  if (!reply.ok()) return reply.status();
  if (reply->status != 200) return WhyNoVersion(*reply);
  return text;
}

}  // namespace rum
