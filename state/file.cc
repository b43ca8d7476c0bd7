#include "state/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace rum {

// Not an ifstream: that takes a failing read for the end of the file.
absl::StatusOr<std::string> ReadFile(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) {
    return errno == ENOENT ? absl::NotFoundError(std::strerror(errno))
                           : absl::InternalError(std::strerror(errno));
  }
  std::string bytes;
  char buffer[16384];
  ssize_t n = 0;
  while ((n = read(file, buffer, sizeof buffer)) != 0) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;
    bytes.append(buffer, static_cast<size_t>(n));
  }
  const int error = errno;
  close(file);
  if (n < 0) return absl::InternalError(std::strerror(error));
  return bytes;
}

}  // namespace rum
