#include "state/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"

namespace rum {
namespace {

absl::Status ErrnoStatus(int error) {
  return error == ENOENT ? absl::NotFoundError(std::strerror(error))
                         : absl::InternalError(std::strerror(error));
}

// At most `most` bytes from a file that is open, to its end if there are fewer.
absl::StatusOr<std::string> ReadUpTo(int file, size_t most) {
  std::string bytes;
  char buffer[16384];
  while (bytes.size() < most) {
    const ssize_t n = read(file, buffer, std::min(sizeof buffer, most - bytes.size()));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno);
    if (n == 0) break;
    bytes.append(buffer, static_cast<size_t>(n));
  }
  return bytes;
}

absl::Status IsRegular(const struct stat& seen) {
  if (S_ISREG(seen.st_mode)) return absl::OkStatus();
  if (S_ISDIR(seen.st_mode)) return ErrnoStatus(EISDIR);
  const char* kind = S_ISFIFO(seen.st_mode)   ? "a FIFO"
                     : S_ISSOCK(seen.st_mode) ? "a socket"
                                              : "a device";
  return absl::FailedPreconditionError(absl::StrCat("not a regular file (", kind, ")"));
}

class File {
 public:
  File(const std::string& path, int flags)
      : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC | flags)) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }

 private:
  const int fd_;
};

}  // namespace

// Not an ifstream: that takes a failing read for the end of the file.
absl::StatusOr<std::string> ReadFile(const std::string& path) {
  const File file(path, 0);
  if (file.fd() < 0) return ErrnoStatus(errno);
  return ReadUpTo(file.fd(), std::numeric_limits<size_t>::max());
}

absl::StatusOr<std::string> ReadRegularFile(const std::string& path, size_t most) {
  // Before it is opened: with some devices that alone has an effect. And after it, since the path
  // may be another file's by then.
  struct stat seen {};
  if (stat(path.c_str(), &seen) != 0) return ErrnoStatus(errno);
  if (absl::Status regular = IsRegular(seen); !regular.ok()) return regular;
  const File file(path, O_NONBLOCK | O_NOCTTY);
  if (file.fd() < 0 || fstat(file.fd(), &seen) != 0) return ErrnoStatus(errno);
  if (absl::Status regular = IsRegular(seen); !regular.ok()) return regular;
  absl::StatusOr<std::string> bytes = ReadUpTo(file.fd(), most + 1);
  if (!bytes.ok() || bytes->size() <= most) return bytes;
  return absl::FailedPreconditionError(most % (size_t{1} << 20) == 0
                                           ? absl::StrCat("larger than ", most >> 20, " MiB")
                                           : absl::StrCat("larger than ", most, " bytes"));
}

}  // namespace rum
