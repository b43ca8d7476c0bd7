#include "state/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>

#include "absl/strings/str_cat.h"

namespace rum {
namespace {

// Not absl's codes: with us Unavailable is another try, and PermissionDenied somebody else's
// machine.
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
  File(const std::string& path, int flags) : fd_(open(path.c_str(), O_CLOEXEC | flags, 0600)) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }

 private:
  const int fd_;
};

std::string ParentOf(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path();
  return folder.empty() ? "." : folder;
}

// Which names a folder has. One that may be written but not read cannot be asked for.
absl::Status SyncNames(const std::string& folder) {
  const File file(folder, O_RDONLY | O_DIRECTORY);
  if (file.fd() < 0 && errno == EACCES) return absl::OkStatus();
  if (file.fd() < 0 || fsync(file.fd()) != 0) return DiskError(errno, folder);
  return absl::OkStatus();
}

absl::Status WriteWhole(const std::string& path, const std::string& bytes) {
  const File file(path, O_WRONLY | O_CREAT | O_TRUNC);
  if (file.fd() < 0) return DiskError(errno, path);
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n = write(file.fd(), bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return DiskError(errno, path);
    done += static_cast<size_t>(n);
  }
  return fsync(file.fd()) == 0 ? absl::OkStatus() : DiskError(errno, path);
}

}  // namespace

// Not an ifstream: that takes a failing read for the end of the file.
absl::StatusOr<std::string> ReadFile(const std::string& path) {
  const File file(path, O_RDONLY);
  if (file.fd() < 0) return ErrnoStatus(errno);
  return ReadUpTo(file.fd(), std::numeric_limits<size_t>::max());
}

absl::StatusOr<std::string> ReadRegularFile(const std::string& path, size_t most) {
  // Before it is opened: with some devices that alone has an effect. And after it, since the path
  // may be another file's by then.
  struct stat seen {};
  if (stat(path.c_str(), &seen) != 0) return ErrnoStatus(errno);
  if (absl::Status regular = IsRegular(seen); !regular.ok()) return regular;
  const File file(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (file.fd() < 0 || fstat(file.fd(), &seen) != 0) return ErrnoStatus(errno);
  if (absl::Status regular = IsRegular(seen); !regular.ok()) return regular;
  absl::StatusOr<std::string> bytes = ReadUpTo(file.fd(), most + 1);
  if (!bytes.ok() || bytes->size() <= most) return bytes;
  return absl::FailedPreconditionError(most % (size_t{1} << 20) == 0
                                           ? absl::StrCat("larger than ", most >> 20, " MiB")
                                           : absl::StrCat("larger than ", most, " bytes"));
}

absl::Status DiskError(int error, const std::string& path) {
  const std::string text = absl::StrCat(path, ": ", std::strerror(error));
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(absl::StrCat(
          text, "; free some space there, and what was to be done can be tried again"));
    case EIO:
      return absl::InternalError(
          absl::StrCat(text, "; the disk under it fails, of which `dmesg` may tell more"));
    case EROFS:
      return absl::InternalError(absl::StrCat(
          text, "; make it writable (mount -o remount,rw), and look at `dmesg` for why ",
          "it is not"));
    case EACCES:
    case EPERM:
      return absl::InternalError(
          absl::StrCat(text, "; this user may not do that there: `ls -ld` shows whose it is"));
    default:
      return absl::InternalError(text);
  }
}

absl::Status ReplaceFile(const std::string& path, const std::string& bytes) {
  const std::string fresh = path + ".new";
  absl::Status status = WriteWhole(fresh, bytes);
  if (status.ok() && rename(fresh.c_str(), path.c_str()) != 0) status = DiskError(errno, path);
  if (status.ok()) return SyncNames(ParentOf(path));
  unlink(fresh.c_str());  // on a full disk it is in the way
  return status;
}

absl::Status RemoveFile(const std::string& path) {
  if (unlink(path.c_str()) == 0) return SyncNames(ParentOf(path));
  return errno == ENOENT ? absl::OkStatus() : DiskError(errno, path);
}

// Also of one that was there the names are synced: whoever made it may not have come so far.
absl::Status MakeFolders(const std::string& path, mode_t mode) {
  bool made = mkdir(path.c_str(), mode) == 0 || errno == EEXIST;
  if (!made && errno == ENOENT && ParentOf(path) != path) {
    if (absl::Status above = MakeFolders(ParentOf(path), mode); !above.ok()) return above;
    made = mkdir(path.c_str(), mode) == 0 || errno == EEXIST;
  }
  return made ? SyncNames(ParentOf(path)) : DiskError(errno, path);
}

absl::Status SyncFile(const std::string& path) {
  const File file(path, O_RDONLY);
  return file.fd() >= 0 && fsync(file.fd()) == 0 ? absl::OkStatus() : DiskError(errno, path);
}

}  // namespace rum
