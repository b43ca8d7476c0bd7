#include "agent-api/files/tree_writer.h"

#include <fcntl.h>
#include <openssl/sha.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <random>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace rum {
namespace {

constexpr mode_t kUsualMode = 0644;

bool IsName(const std::string& name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string("/\0", 2)) == std::string::npos;
}

absl::Status NoTree(const char* why) {
  return absl::InvalidArgumentError(absl::StrCat("the messages make no tree: ", why));
}

constexpr char kTemporary[] = ".rum-cp-";

// A name beside the item's own that nothing has.
std::string TemporaryName() {
  static thread_local std::random_device random;
  char name[32];
  std::snprintf(name, sizeof name, "%s%08x%08x", kTemporary, random(), random());
  return name;
}

// The name of what has arrived of `name`, found again by the next copy.
std::string PartName(const std::string& name) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(name.data()), name.size(), digest);
  return kTemporary + absl::BytesToHexString({reinterpret_cast<const char*>(digest), 12});
}

// Nobody else can have written it or kept a hold of it by another name.
bool IsOurPart(const struct stat& info) {
  return S_ISREG(info.st_mode) && info.st_uid == geteuid() && info.st_nlink == 1 &&
         (info.st_mode & 077) == 0;
}

bool HasTimeOf(const agent::CopyItem& item, const struct stat& info) {
  return info.st_mtim.tv_sec == item.mtime_s() &&
         info.st_mtim.tv_nsec == static_cast<long>(item.mtime_ns());
}

void TimesOf(const agent::CopyItem& item, timespec times[2]) {
  times[0] = times[1] = {item.mtime_s(), static_cast<long>(item.mtime_ns())};
}

}  // namespace

TreeWriter::TreeWriter(Destination destination, Options options, OnProblem on_problem)
    : top_(std::move(destination)), options_(options), on_problem_(std::move(on_problem)) {}

TreeWriter::~TreeWriter() {
  LeaveFile();
  while (!levels_.empty()) EndFolder();
}

absl::Status TreeWriter::Take(const agent::CopyMessage& message) {
  switch (message.message_case()) {
    case agent::CopyMessage::kItem:
      return TakeItem(message.item());
    case agent::CopyMessage::kData:
      return TakeData(message.data());
    case agent::CopyMessage::kItemEnd:
      return TakeEnd(message.item_end());
    default:
      return NoTree("not an item");
  }
}

agent::CopyHave TreeWriter::Answer(const agent::CopyOffer& offer) const {
  agent::CopyHave have;
  for (const agent::CopyItem& item : offer.items()) {
    agent::CopyHave::One* one = have.add_items();
    const std::string& name = started_ ? item.name() : top_.name;
    if (skipped_ > 0 || (started_ && (levels_.empty() || !IsName(name)))) continue;
    struct stat info {};
    const bool is_there = fstatat(folder(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
    if (item.kind() == agent::CopyItem::FOLDER) {
      one->set_there(is_there && S_ISDIR(info.st_mode));
      continue;
    }
    one->set_there(is_there && S_ISREG(info.st_mode) &&
                   static_cast<uint64_t>(info.st_size) == item.size() && HasTimeOf(item, info) &&
                   (info.st_mode & ACCESSPERMS) == item.mode());
    if (!one->there() && options_.resume &&
        fstatat(folder(), PartName(name).c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
        IsOurPart(info) && HasTimeOf(item, info) &&
        static_cast<uint64_t>(info.st_size) <= item.size()) {
      one->set_bytes(static_cast<uint64_t>(info.st_size));
    }
  }
  return have;
}

absl::Status TreeWriter::Problem(const std::string& text) {
  on_problem_(path_, text);
  return absl::OkStatus();
}

// What would be a problem of every item to come is an error.
absl::Status TreeWriter::Problem(int error) {
  if (error == ENOSPC || error == EDQUOT || error == EROFS || error == EIO)
    return absl::ResourceExhaustedError(absl::StrCat(path_, ": ", std::strerror(error)));
  return Problem(std::strerror(error));
}

absl::Status TreeWriter::TakeItem(const agent::CopyItem& item) {
  if (file_.ok() || skips_file_) return NoTree("an item in a file");
  const bool first = !started_;
  if (!first && levels_.empty() && skipped_ == 0) return NoTree("a second one");
  if (!first && !IsName(item.name())) return NoTree("a name that is none");
  started_ = true;
  if (skipped_ > 0) {
    if (item.kind() == agent::CopyItem::FOLDER) ++skipped_;
    skips_file_ = item.kind() == agent::CopyItem::FILE;
    return absl::OkStatus();
  }
  name_ = first ? top_.name : item.name();
  path_ = first ? top_.path : absl::StrCat(levels_.back().path, "/", item.name());
  item_ = item;
  if (item.kind() == agent::CopyItem::FOLDER) return BeginFolder(item);
  if (name_ == ".") return absl::FailedPreconditionError(absl::StrCat(path_, ": is a folder"));
  return item.kind() == agent::CopyItem::FILE ? BeginFile(item) : MakeLink(item);
}

absl::Status TreeWriter::BeginFolder(const agent::CopyItem& item) {
  Level level;
  level.path = path_ == "/" ? "" : path_;
  level.item = item;
  const bool made = name_ != "." && mkdirat(folder(), name_.c_str(), 0700) == 0;
  const int made_error = errno;
  level.folder =
      OwnedFd(openat(folder(), name_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (level.folder.ok()) {
    const int fd = level.folder.get();
    uid_t uid = 0;
    gid_t gid = 0;
    if (made && GiveAway(nullptr, &uid, &gid) && fchown(fd, uid, gid) != 0) {
      skipped_ = 1;
      return Problem(errno);
    }
    // Ours to write in until its end, but already as open to others as it will be: we may be
    // killed.
    level.gets_mode = (made || (options_.resume && IsAsTold(fd, item))) &&
                      fchmod(fd, (item.mode() & ACCESSPERMS) | S_IRWXU) == 0;
    levels_.push_back(std::move(level));
    return absl::OkStatus();
  }
  const int error = errno;
  skipped_ = 1;
  if (error == ENOTDIR || error == ELOOP) return Problem("in the way of a folder");
  return Problem(made_error != EEXIST && !made ? made_error : error);
}

absl::Status TreeWriter::BeginFile(const agent::CopyItem& item) {
  arrived_ = item.offset();
  if (item.kept()) {
    skips_file_ = true;
    return absl::OkStatus();
  }
  if (options_.resume) return OpenPart(item.offset());
  if (item.offset() > 0) return NoTree("a part of a file");
  temporary_ = TemporaryName();
  file_ = OwnedFd(openat(folder(), temporary_.c_str(),
                         O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (file_.ok()) return absl::OkStatus();
  skips_file_ = true;
  return Problem(errno);
}

absl::Status TreeWriter::OpenPart(uint64_t offset) {
  temporary_ = PartName(name_);
  skips_file_ = true;  // unless all goes well
  OwnedFd file(openat(folder(), temporary_.c_str(),
                      O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600));
  struct stat info {};
  struct stat named {};
  if (!file.ok() || fstat(file.get(), &info) != 0) return Problem(errno);
  if (!IsOurPart(info)) return Problem(absl::StrCat(temporary_, " is in the way"));
  // Whoever has it locked may have given it its place meanwhile.
  if (flock(file.get(), LOCK_EX | LOCK_NB) != 0 ||
      fstatat(folder(), temporary_.c_str(), &named, AT_SYMLINK_NOFOLLOW) != 0 ||
      named.st_ino != info.st_ino) {
    return Problem("another copy is making it");
  }
  if (fstat(file.get(), &info) != 0) return Problem(errno);
  if (static_cast<uint64_t>(info.st_size) < offset) return Problem(ESTALE);
  // Only if it has to be: it would have another time, and so be of no file.
  const auto size = static_cast<off_t>(offset);
  if ((info.st_size > size && ftruncate(file.get(), size) != 0) ||
      lseek(file.get(), size, SEEK_SET) != size) {
    return Problem(errno);
  }
  file_ = std::move(file);
  skips_file_ = false;
  return absl::OkStatus();
}

absl::Status TreeWriter::TakeData(const std::string& data) {
  if (skips_file_) return absl::OkStatus();
  if (!file_.ok()) return NoTree("data without a file");
  for (size_t done = 0; done < data.size();) {
    const ssize_t n = write(file_.get(), data.data() + done, data.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int error = errno;
      DropFile();
      skips_file_ = true;
      return Problem(error);
    }
    done += static_cast<size_t>(n);
  }
  arrived_ += data.size();
  if (!options_.resume) return absl::OkStatus();
  // Says which file the part is of, also when we are killed. One that is killed in between has the
  // time of the write, and so is of none.
  timespec times[2];
  TimesOf(item_, times);
  return futimens(file_.get(), times) == 0 ? absl::OkStatus() : Problem(errno);
}

absl::Status TreeWriter::TakeEnd(bool whole) {
  if (skips_file_) {
    skips_file_ = false;
    return absl::OkStatus();
  }
  if (file_.ok()) {
    absl::Status ended = whole ? EndFile() : absl::OkStatus();
    DropFile();
    return ended;
  }
  if (skipped_ > 0) {
    --skipped_;
    return absl::OkStatus();
  }
  if (levels_.empty()) return NoTree("an end of nothing");
  EndFolder();
  return absl::OkStatus();
}

absl::Status TreeWriter::MayReplace(struct stat* there, bool* is_there) const {
  *is_there = fstatat(folder(), name_.c_str(), there, AT_SYMLINK_NOFOLLOW) == 0;
  if (!*is_there || S_ISREG(there->st_mode) || S_ISLNK(there->st_mode)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      S_ISDIR(there->st_mode) ? "a folder is in its place" : "a device or pipe is in its place");
}

bool TreeWriter::GiveAway(const struct stat* there, uid_t* uid, gid_t* gid) const {
  struct stat parent {};
  if (!options_.give_away || (there == nullptr && fstat(folder(), &parent) != 0)) return false;
  *uid = there != nullptr ? there->st_uid : parent.st_uid;
  *gid = there != nullptr ? there->st_gid : parent.st_gid;
  return true;
}

absl::Status TreeWriter::EndFile() {
  struct stat there {};
  bool is_there = false;
  if (const absl::Status may = MayReplace(&there, &is_there); !may.ok())
    return Problem(std::string(may.message()));
  const bool is_file = is_there && S_ISREG(there.st_mode);
  uid_t uid = 0;
  gid_t gid = 0;
  if (GiveAway(is_file ? &there : nullptr, &uid, &gid) && fchown(file_.get(), uid, gid) != 0)
    return Problem(errno);
  mode_t mode = item_.mode() & ACCESSPERMS;
  if (item_.any_mode()) mode = is_file ? there.st_mode & ACCESSPERMS : kUsualMode;
  timespec times[2];
  TimesOf(item_, times);
  if (fchmod(file_.get(), mode) != 0 || futimens(file_.get(), times) != 0 ||
      renameat(folder(), temporary_.c_str(), folder(), name_.c_str()) != 0) {
    return Problem(errno);
  }
  temporary_.clear();
  if (!options_.resume) RemovePart();
  return absl::OkStatus();
}

// Of an earlier copy, which nobody will want to resume; one that is under way has it locked.
void TreeWriter::RemovePart() const {
  const std::string part = PartName(name_);
  const OwnedFd file(
      openat(folder(), part.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat info {};
  if (file.ok() && fstat(file.get(), &info) == 0 && IsOurPart(info) &&
      flock(file.get(), LOCK_EX | LOCK_NB) == 0) {
    unlinkat(folder(), part.c_str(), 0);
  }
}

void TreeWriter::LeaveFile() {
  if (options_.resume && arrived_ > 0) temporary_.clear();
  DropFile();
}

void TreeWriter::DropFile() {
  if (file_.ok() && !temporary_.empty()) unlinkat(folder(), temporary_.c_str(), 0);
  file_ = OwnedFd();
  temporary_.clear();
}

absl::Status TreeWriter::MakeLink(const agent::CopyItem& item) {
  struct stat there {};
  bool is_there = false;
  if (const absl::Status may = MayReplace(&there, &is_there); !may.ok())
    return Problem(std::string(may.message()));
  if (item.link().empty() || item.link().find('\0') != std::string::npos)
    return Problem("not a link's target");
  const std::string temporary = TemporaryName();
  if (symlinkat(item.link().c_str(), folder(), temporary.c_str()) != 0) return Problem(errno);
  uid_t uid = 0;
  gid_t gid = 0;
  timespec times[2];
  TimesOf(item, times);
  const bool given = !GiveAway(nullptr, &uid, &gid) ||
                     fchownat(folder(), temporary.c_str(), uid, gid, AT_SYMLINK_NOFOLLOW) == 0;
  if (given && utimensat(folder(), temporary.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0 &&
      renameat(folder(), temporary.c_str(), folder(), name_.c_str()) == 0) {
    return absl::OkStatus();
  }
  const int error = errno;
  unlinkat(folder(), temporary.c_str(), 0);
  return Problem(error);
}

bool TreeWriter::IsAsTold(int fd, const agent::CopyItem& item) {
  struct stat info {};
  return fstat(fd, &info) == 0 && HasTimeOf(item, info) &&
         (info.st_mode & ACCESSPERMS) == item.mode();
}

// Last of all, as a folder's time changes with what is put in it, and its mode may forbid that.
void TreeWriter::EndFolder() {
  const Level level = std::move(levels_.back());
  levels_.pop_back();
  if (!level.gets_mode) return;
  timespec times[2];
  TimesOf(level.item, times);
  if (fchmod(level.folder.get(), level.item.mode() & ACCESSPERMS) != 0 ||
      futimens(level.folder.get(), times) != 0) {
    on_problem_(level.path, std::strerror(errno));
  }
}

}  // namespace rum
