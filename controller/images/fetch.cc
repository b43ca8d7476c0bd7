#include "controller/images/fetch.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "controller/images/cache_folder.h"
#include "controller/images/checksums.h"
#include "controller/images/disk_image.h"
#include "controller/images/download.h"
#include "controller/images/location.h"
#include "controller/images/progress.h"
#include "controller/images/unpack.h"
#include "state/file.h"

namespace rum {
namespace {

using Entry = CacheFolder::Entry;

bool Matches(const Entry& entry, const ExpectedSum& expected) {
  return CheckSums({entry.about.sha256(), entry.about.sha512()}, expected, "").ok();
}

bool IsNetworkTrouble(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsNotFound(status);
}

int64_t NowMs() { return absl::ToUnixMillis(absl::Now()); }

// A local file as it is now: another size, time or inode is another content.
absl::StatusOr<std::string> LocalVersion(const std::string& path) {
  struct stat file;
  if (stat(path.c_str(), &file) != 0) return absl::ErrnoToStatus(errno, path);
  return absl::StrCat(file.st_size, "-", file.st_mtim.tv_sec, ".", file.st_mtim.tv_nsec, "-",
                      file.st_dev, ":", file.st_ino);
}

class Fetcher {
 public:
  Fetcher(const ImageSource& source, Location location, const Onlooker& onlooker,
          const HttpLimits& limits)
      : source_(source), location_(std::move(location)), progress_(onlooker), limits_(limits) {}

  absl::StatusOr<FetchedImage> Remote(const std::string& folder) {
    url_ = location_.url;
    started_ms_ = NowMs();
    if (absl::Status status = LockUrl(folder); !status.ok()) return status;
    const std::vector<Entry> versions = cache_->VersionsOf(key_, url_);
    const Entry* const newest = versions.empty() ? nullptr : &versions.front();
    const std::string unsafe = location_.secure ? "" : ChecksumProblem(url_, source_.sha256);
    if (!unsafe.empty()) {
      if (newest == nullptr) return absl::FailedPreconditionError(unsafe);
      progress_.Say(CachedCopyText(absl::FailedPreconditionError(unsafe)));
      return Given(*newest);
    }
    absl::StatusOr<ExpectedSum> expected = Expected();
    if (!expected.ok()) {
      if (newest == nullptr || !IsNetworkTrouble(expected.status())) return expected.status();
      progress_.Say(CachedCopyText(expected.status()));
      return Given(*newest);
    }
    if (!expected->empty()) {
      for (const Entry& version : versions) {
        if (Matches(version, *expected)) return Given(version);  // nothing could be more right
      }
    }
    // Whoever had the lock before us has just asked.
    if (waited_ && newest != nullptr && newest->about.checked_ms() >= started_ms_) {
      return Accept(*newest, *expected);
    }
    return Ask(newest, *expected);
  }

  absl::StatusOr<FetchedImage> Local(const std::string& folder) {
    std::error_code error;
    const std::string path = std::filesystem::canonical(location_.path, error);
    if (error == std::errc::no_such_file_or_directory) {
      return absl::NotFoundError(
          absl::StrCat("image.base: there is no file ", location_.path,
                       "; a published image has a name (`rum explain image.base`)"));
    }
    if (error) return absl::ErrnoToStatus(error.value(), absl::StrCat("image ", location_.path));
    if (!std::filesystem::is_regular_file(path, error)) {
      return absl::InvalidArgumentError(absl::StrCat("image ", path, ": not a file"));
    }
    const absl::StatusOr<bool> packed = IsCompressed(path);
    if (!packed.ok()) return packed.status();
    const absl::StatusOr<ExpectedSum> expected = Expected();
    if (!expected.ok()) return expected.status();
    if (*packed) return LocalPacked(folder, path, *expected);
    if (absl::Status status = CheckDiskImage(path, path, false); !status.ok()) return status;
    if (!expected->empty()) {
      const absl::StatusOr<Sums> sums = SumsOf(path, location_.name, &progress_);
      if (!sums.ok()) return sums.status();
      if (absl::Status status = CheckSums(*sums, *expected, path); !status.ok()) return status;
    }
    return FetchedImage{path, nullptr};
  }

 private:
  absl::Status LockUrl(const std::string& folder) {
    absl::StatusOr<CacheFolder> cache = CacheFolder::Open(folder);
    if (!cache.ok()) return cache.status();
    cache_ = std::make_unique<CacheFolder>(*std::move(cache));
    key_ = CacheFolder::KeyOf(url_, location_.name);
    absl::StatusOr<std::shared_ptr<FileLock>> lock =
        FileLock::Exclusive(cache_->LockOf(key_), [this] {
          if (!std::exchange(waited_, true)) {
            progress_.Say(absl::StrCat("waiting for somebody else's download of ", location_.name));
          }
          return progress_.GoOn();
        });
    if (!lock.ok()) return lock.status();
    lock_ = *std::move(lock);
    return absl::OkStatus();
  }

  // What the bytes must be: as the user says, else as the mirror does.
  absl::StatusOr<ExpectedSum> Expected() {
    ExpectedSum expected;
    if (!source_.sha256.empty()) {
      expected.sum.sha256 = absl::AsciiStrToLower(source_.sha256);
      expected.said_by = "image.sha256";
      return expected;
    }
    if (source_.checksums_url.empty()) return expected;
    const std::string shown = ShownUrl(source_.checksums_url);
    const absl::StatusOr<Location> where = LocationOf(source_.checksums_url);
    if (!where.ok()) return where.status();
    const absl::StatusOr<std::string> text =
        where->remote ? DownloadText(where->url, limits_, progress_) : ReadFile(where->path);
    if (!text.ok()) {
      return absl::Status(text.status().code(), absl::StrCat("checksums of ", location_.name, ": ",
                                                             std::string(text.status().message())));
    }
    const absl::StatusOr<Sums> sums = FindSum(*text, location_.name);
    if (!sums.ok()) {
      return absl::Status(sums.status().code(), absl::StrCat("checksums at ", shown, ": ",
                                                             std::string(sums.status().message())));
    }
    expected.sum = *sums;
    expected.said_by = shown;
    return expected;
  }

  absl::StatusOr<FetchedImage> Ask(const Entry* newest, const ExpectedSum& expected) {
    DownloadRequest request;
    request.url = url_;
    request.name = location_.name;
    request.part = cache_->PartOf(key_);
    if (newest != nullptr) request.cached = newest->about.validator();
    request.has_checksum = !expected.empty();
    request.limits = limits_;
    const absl::StatusOr<Download> download = DownloadPart(request, &progress_);
    if (!download.ok()) return download.status();
    if (download->outcome == Download::Outcome::kWhole) {
      return Keep(request.part, download->validator, expected);
    }
    if (newest == nullptr) {
      // Nothing came, so that nothing is kept for the next time but what was there already.
      std::error_code error;
      if (std::filesystem::file_size(request.part, error) == 0) {
        RemovePart(request.part).IgnoreError();
      }
      return download->why;
    }
    if (download->outcome == Download::Outcome::kNoVersion) {
      if (!Matches(*newest, expected)) return download->why;  // the server may have the right one
      progress_.Say(CachedCopyText(download->why));
    } else {
      RemovePart(request.part).IgnoreError();  // of a version between
      Entry checked = *newest;
      checked.about.set_checked_ms(NowMs());
      if (absl::Status status = cache_->Save(checked); !status.ok()) return status;
    }
    return Accept(*newest, expected);
  }

  std::string CachedCopyText(const absl::Status& why) const {
    return absl::StrCat("using the cached copy of ", location_.name, ": ",
                        std::string(why.message()));
  }

  // The part is whole: into the cache with it, if it is what it must be.
  absl::StatusOr<FetchedImage> Keep(const std::string& part, const Validator& validator,
                                    const ExpectedSum& expected) {
    CacheEntry about;
    *about.mutable_validator() = validator;
    absl::StatusOr<FetchedImage> image = Enter(part, expected, &about);
    // What is wrong stays wrong; only a full disk may be better another time.
    if (image.ok() || absl::IsFailedPrecondition(image.status()) ||
        absl::IsInvalidArgument(image.status())) {
      if (absl::Status status = RemovePart(part); !status.ok()) return status;
    }
    return image;
  }

  absl::StatusOr<FetchedImage> LocalPacked(const std::string& folder, const std::string& path,
                                           const ExpectedSum& expected) {
    url_ = path;
    if (absl::Status status = LockUrl(folder); !status.ok()) return status;
    const absl::StatusOr<std::string> version = LocalVersion(path);
    if (!version.ok()) return version.status();
    for (const Entry& entry : cache_->VersionsOf(key_, url_)) {
      if (entry.about.local_version() == *version) return Accept(entry, expected);
    }
    CacheEntry about;
    about.set_local_version(*version);
    return Enter(path, expected, &about);
  }

  // Checks and unpacks the file of published bytes, and makes a version of it.
  absl::StatusOr<FetchedImage> Enter(const std::string& published, const ExpectedSum& expected,
                                     CacheEntry* about) {
    const absl::StatusOr<Sums> sums = SumsOf(published, location_.name, &progress_);
    if (!sums.ok()) return sums.status();
    if (absl::Status status = CheckSums(*sums, expected, location_.name); !status.ok())
      return status;
    const absl::StatusOr<std::string> ready = cache_->MakeReady(key_);
    if (!ready.ok()) return ready.status();
    absl::Status status = PutImage(published, *ready + "/image");
    if (status.ok()) status = CheckDiskImage(*ready + "/image", location_.name, true);
    if (status.ok()) status = CheckUnchanged(published, *about);
    if (!status.ok()) {
      std::error_code error;
      std::filesystem::remove_all(*ready, error);
      return status;
    }
    SetUrl(url_, about);
    about->set_sha256(sums->sha256);
    about->set_sha512(sums->sha512);
    about->set_checked_ms(NowMs());
    // Newer than what is there, also where the clock was put back.
    about->set_fetched_ms(about->checked_ms());
    for (const Entry& version : cache_->VersionsOf(key_, url_)) {
      about->set_fetched_ms(std::max(about->fetched_ms(), version.about.fetched_ms() + 1));
    }
    const absl::StatusOr<Entry> entry = cache_->Add(key_, *about);
    if (!entry.ok()) return entry.status();
    return Given(*entry);
  }

  absl::Status PutImage(const std::string& published, const std::string& image) {
    const absl::StatusOr<bool> packed = IsCompressed(published);
    if (!packed.ok()) return packed.status();
    if (*packed) return Unpack(published, image, location_.name, &progress_);
    // A second name: the part stays until the version is there, so that a crash loses nothing.
    if (link(published.c_str(), image.c_str()) != 0) return DiskError(errno, image);
    return absl::OkStatus();
  }

  absl::Status CheckUnchanged(const std::string& path, const CacheEntry& about) {
    if (about.local_version().empty()) return absl::OkStatus();
    const absl::StatusOr<std::string> now = LocalVersion(path);
    if (!now.ok()) return now.status();
    if (*now == about.local_version()) return absl::OkStatus();
    return absl::UnavailableError(absl::StrCat("image ", path, ": it changed while it was read"));
  }

  absl::StatusOr<FetchedImage> Accept(const Entry& entry, const ExpectedSum& expected) {
    const Sums sums{entry.about.sha256(), entry.about.sha512()};
    if (absl::Status status = CheckSums(sums, expected, location_.name); !status.ok())
      return status;
    return Given(entry);
  }

  static FetchedImage Given(const Entry& entry) { return FetchedImage{entry.image, entry.hold}; }

  const ImageSource& source_;
  const Location location_;
  Progress progress_;
  const HttpLimits& limits_;
  std::string url_;  // or the canonical path
  std::string key_;
  std::unique_ptr<CacheFolder> cache_;
  std::shared_ptr<FileLock> lock_;
  bool waited_ = false;
  int64_t started_ms_ = 0;
};

}  // namespace

absl::StatusOr<FetchedImage> FetchImage(const std::string& folder, const ImageSource& source,
                                        const Onlooker& onlooker, const HttpLimits& limits) {
  absl::StatusOr<Location> location = LocationOf(source.url);
  if (!location.ok()) return location.status();
  const bool remote = location->remote;
  Fetcher fetcher(source, *std::move(location), onlooker, limits);
  return remote ? fetcher.Remote(folder) : fetcher.Local(folder);
}

}  // namespace rum
