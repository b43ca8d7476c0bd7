#include "controller/images/file_lock.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "state/file.h"

namespace rum {
namespace {

// A wait in the kernel could not be given up.
constexpr absl::Duration kAgain = absl::Milliseconds(20);

bool Lock(const Fd& fd, int command, int16_t type) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  int result = 0;
  do {
    result = fcntl(fd.get(), command, &lock);
  } while (result != 0 && errno == EINTR);
  return result == 0;
}

// False: the file was removed, or made anew, while we waited for its lock.
bool IsStill(const Fd& fd, const std::string& path) {
  struct stat ours, there;
  return fstat(fd.get(), &ours) == 0 && stat(path.c_str(), &there) == 0 &&
         ours.st_ino == there.st_ino && ours.st_dev == there.st_dev;
}

}  // namespace

absl::StatusOr<std::shared_ptr<FileLock>> FileLock::Exclusive(
    const std::string& path, const std::function<absl::Status()>& waiting) {
  while (true) {
    Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!fd.ok()) return DiskError(errno, path);
    if (!Lock(fd, F_OFD_SETLK, F_WRLCK)) {
      if (errno != EAGAIN && errno != EACCES) return absl::ErrnoToStatus(errno, path);
      if (absl::Status status = waiting(); !status.ok()) return status;
      absl::SleepFor(kAgain);
      continue;
    }
    if (IsStill(fd, path)) return std::shared_ptr<FileLock>(new FileLock(std::move(fd)));
  }
}

std::shared_ptr<FileLock> FileLock::TryExclusive(const std::string& path) {
  Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.ok() || !Lock(fd, F_OFD_SETLK, F_WRLCK) || !IsStill(fd, path)) return nullptr;
  return std::shared_ptr<FileLock>(new FileLock(std::move(fd)));
}

std::shared_ptr<FileLock> FileLock::Shared(const std::string& path) {
  Fd fd(open(path.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.ok() || !Lock(fd, F_OFD_SETLKW, F_RDLCK) || !IsStill(fd, path)) return nullptr;
  return std::shared_ptr<FileLock>(new FileLock(std::move(fd)));
}

bool FileLock::IsHeld(const std::string& path) {
  Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return fd.ok() && fcntl(fd.get(), F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

}  // namespace rum
