#include "agent-api/files/tree_reader.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent-api/files/destination.h"
#include "agent-api/files/owned_fd.h"

namespace rum {
namespace {

constexpr size_t kChunk = 64 * 1024;
constexpr int kMostOffered = 1000;  // at once: a message has its limit
// Not blocking: a pipe that is in the way must not be waited for.
constexpr int kOpen = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;

agent::CopyMessage ItemOf(const struct stat& info, const std::string& name) {
  agent::CopyMessage message;
  agent::CopyItem* item = message.mutable_item();
  item->set_kind(S_ISDIR(info.st_mode)   ? agent::CopyItem::FOLDER
                 : S_ISLNK(info.st_mode) ? agent::CopyItem::SYMLINK
                                         : agent::CopyItem::FILE);
  item->set_name(name);
  item->set_mode(info.st_mode & ACCESSPERMS);
  item->set_mtime_s(info.st_mtim.tv_sec);
  item->set_mtime_ns(static_cast<uint32_t>(info.st_mtim.tv_nsec));
  if (S_ISREG(info.st_mode)) item->set_size(static_cast<uint64_t>(info.st_size));
  return message;
}

// What the other side said of an item when it was as `offered`.
struct Known {
  agent::CopyItem offered;
  agent::CopyHave::One have;
};

bool IsStill(const agent::CopyItem& item, const agent::CopyItem& offered) {
  return item.kind() == offered.kind() && item.size() == offered.size() &&
         item.mode() == offered.mode() && item.mtime_s() == offered.mtime_s() &&
         item.mtime_ns() == offered.mtime_ns();
}

class Teller {
 public:
  Teller(const CopySink& sink, const CopyAsk& ask)
      : sink_(sink), ask_(ask), buffer_(kChunk, '\0') {}

  bool wanted() const { return wanted_; }

  // `fd`: of the item, opened for reading.
  void TellFirst(OwnedFd fd, struct stat info, const std::string& name, const std::string& path) {
    std::map<std::string, Known> known;
    if (ask_) Ask({ItemOf(info, name).item()}, &known);
    fstat(fd.get(), &info);  // it may be another one by now
    Tell(std::move(fd), info, name, path, known[name]);
  }

 private:
  void Tell(OwnedFd fd, const struct stat& info, const std::string& name, const std::string& path,
            const Known& known) {
    if (S_ISDIR(info.st_mode)) return TellFolder(std::move(fd), info, name, path, known);
    agent::CopyMessage message = ItemOf(info, name);
    agent::CopyItem* item = message.mutable_item();
    const bool still = IsStill(*item, known.offered);
    if (still && known.have.there()) return TellKept(message);
    if (still && lseek(fd.get(), static_cast<off_t>(known.have.bytes()), SEEK_SET) > 0)
      item->set_offset(known.have.bytes());
    Say(message);
    agent::CopyMessage data;
    ssize_t n = 0;
    while (wanted_) {
      n = read(fd.get(), buffer_.data(), buffer_.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) break;
      data.set_data(buffer_.data(), static_cast<size_t>(n));
      Say(data);
    }
    if (n < 0) SayProblem(path, errno);
    data.set_item_end(n == 0);
    Say(data);
  }

  void TellKept(agent::CopyMessage message) {
    message.mutable_item()->set_kept(true);
    Say(message);
    message.set_item_end(true);
    Say(message);
  }

  void Ask(const std::vector<agent::CopyItem>& items, std::map<std::string, Known>* known) {
    agent::CopyOffer offer;
    for (size_t i = 0; i < items.size(); ++i) {
      *offer.add_items() = items[i];
      if (offer.items_size() < kMostOffered && i + 1 < items.size()) continue;
      agent::CopyHave have;
      wanted_ = wanted_ && ask_(offer, &have) && have.items_size() == offer.items_size();
      if (!wanted_) return;
      for (int k = 0; k < have.items_size(); ++k)
        (*known)[offer.items(k).name()] = {offer.items(k), have.items(k)};
      offer.Clear();
    }
  }

  void Say(const agent::CopyMessage& message) { wanted_ = wanted_ && sink_(message); }

  void SayProblem(const std::string& path, const std::string& text) {
    agent::CopyMessage message;
    message.mutable_problem()->set_path(path);
    message.mutable_problem()->set_text(text);
    Say(message);
  }
  void SayProblem(const std::string& path, int error) { SayProblem(path, std::strerror(error)); }

  void TellFolder(OwnedFd fd, const struct stat& info, const std::string& name,
                  const std::string& path, const Known& known) {
    std::vector<std::string> names;
    DIR* folder = fdopendir(dup(fd.get()));
    if (folder == nullptr) return SayProblem(path, errno);
    errno = 0;
    while (const dirent* entry = readdir(folder)) names.emplace_back(entry->d_name);
    if (errno != 0) SayProblem(path, errno);
    closedir(folder);
    std::sort(names.begin(), names.end());
    Say(ItemOf(info, name));
    std::map<std::string, Known> entries;
    // What is in a folder that is not there yet is not there either.
    if (ask_ && known.have.there()) Ask(ItemsOf(fd.get(), names), &entries);
    for (const std::string& one : names) {
      if (one == "." || one == ".." || !wanted_) continue;
      TellEntry(fd.get(), one, absl::StrCat(path == "/" ? "" : path, "/", one), entries[one]);
    }
    agent::CopyMessage end;
    end.set_item_end(true);
    Say(end);
  }

  static std::vector<agent::CopyItem> ItemsOf(int folder, const std::vector<std::string>& names) {
    std::vector<agent::CopyItem> items;
    for (const std::string& name : names) {
      struct stat info {};
      const bool is = name != "." && name != ".." &&
                      fstatat(folder, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
      if (is && (S_ISREG(info.st_mode) || S_ISDIR(info.st_mode)))
        items.push_back(ItemOf(info, name).item());
    }
    return items;
  }

  void TellEntry(int folder, const std::string& name, const std::string& path, const Known& known) {
    struct stat info {};
    if (fstatat(folder, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
      return SayProblem(path, errno);
    if (S_ISLNK(info.st_mode)) return TellLink(folder, info, name, path);
    if (!S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode))
      return SayProblem(path, "neither a file nor a folder nor a link: left out");
    OwnedFd fd(openat(folder, name.c_str(), kOpen));
    // Asked again: something else may be there now.
    if (!fd.ok() || fstat(fd.get(), &info) != 0) return SayProblem(path, errno);
    if (!S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode)) return SayProblem(path, ESTALE);
    Tell(std::move(fd), info, name, path, known);
  }

  void TellLink(int folder, const struct stat& info, const std::string& name,
                const std::string& path) {
    std::string target(PATH_MAX, '\0');
    const ssize_t n = readlinkat(folder, name.c_str(), target.data(), target.size());
    if (n < 0) return SayProblem(path, errno);
    target.resize(static_cast<size_t>(n));
    agent::CopyMessage message = ItemOf(info, name);
    message.mutable_item()->set_link(target);
    Say(message);
  }

  const CopySink& sink_;
  const CopyAsk& ask_;
  std::string buffer_;
  bool wanted_ = true;
};

}  // namespace

absl::Status TellTree(const std::string& path, const CopySink& sink, const CopyAsk& ask) {
  if (path.empty() || path.find('\0') != std::string::npos)
    return absl::InvalidArgumentError(absl::StrCat(path, ": not a path"));
  OwnedFd fd(open(path.c_str(), kOpen & ~O_NOFOLLOW));
  struct stat info {};
  if (!fd.ok() || fstat(fd.get(), &info) != 0) {
    const int error = errno;
    const std::string text = absl::StrCat(path, ": ", std::strerror(error));
    return error == ENOENT ? absl::NotFoundError(text) : absl::FailedPreconditionError(text);
  }
  if (!S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode))
    return absl::FailedPreconditionError(absl::StrCat(path, ": neither a file nor a folder"));
  Teller teller(sink, ask);
  teller.TellFirst(std::move(fd), info, LastName(path), path);
  return teller.wanted() ? absl::OkStatus() : absl::CancelledError("nobody wants more");
}

}  // namespace rum
