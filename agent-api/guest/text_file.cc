#include "agent-api/guest/text_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace rum::guest {
namespace {

absl::Status Failed(const std::string& what, const std::string& path) {
  return absl::InternalError(absl::StrCat(what, " ", path, ": ", std::strerror(errno)));
}

absl::Status WriteAll(int fd, const std::string& path, const std::string& bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n = write(fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Failed("write", path);
    done += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> ReadFileToEdit(const std::string& path) {
  // A user may have put a pipe in its place, which nobody ever writes to.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0 && errno == ENOENT) return absl::NotFoundError(absl::StrCat("no file ", path));
  if (fd < 0) return Failed("open", path);
  std::string text;
  char buffer[16 * 1024];
  for (;;) {
    const ssize_t n = read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const absl::Status failed = Failed("read", path);
      close(fd);
      return failed;
    }
    if (n == 0) break;
    text.append(buffer, static_cast<size_t>(n));
  }
  close(fd);
  return text;
}

std::string ReadFile(const std::string& path) { return ReadFileToEdit(path).value_or(""); }

std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

absl::Status WriteFileAtomically(const std::string& path, const std::string& bytes, mode_t mode) {
  const std::string temporary = path + ".rum-new";
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return Failed("create", temporary);
  struct stat old {};
  const bool exists = stat(path.c_str(), &old) == 0;
  absl::Status status = WriteAll(fd, temporary, bytes);
  if (status.ok() && fsync(fd) != 0) status = Failed("fsync", temporary);
  if (status.ok() && exists && fchown(fd, old.st_uid, old.st_gid) != 0)
    status = Failed("chown", temporary);
  if (status.ok() && fchmod(fd, exists ? old.st_mode & 07777 : mode) != 0)
    status = Failed("chmod", temporary);
  close(fd);
  if (status.ok() && rename(temporary.c_str(), path.c_str()) != 0)
    status = Failed("rename to", path);
  if (!status.ok()) unlink(temporary.c_str());
  return status;
}

absl::Status WriteNewFile(const std::string& path, const std::string& bytes, mode_t mode) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return Failed("create", path);
  absl::Status status = WriteAll(fd, path, bytes);
  if (status.ok() && fchmod(fd, mode) != 0) status = Failed("chmod", path);
  close(fd);
  if (!status.ok()) unlink(path.c_str());
  return status;
}

absl::Status SyncFolder(const std::string& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return Failed("open", folder);
  const absl::Status status = fsync(fd) == 0 ? absl::OkStatus() : Failed("fsync", folder);
  close(fd);
  return status;
}

}  // namespace rum::guest
