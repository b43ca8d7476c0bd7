#include "controller/service/known_hosts.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "state/file.h"

namespace rum {
namespace {

bool IsKey(const std::string& line) {
  const size_t space = line.find(' ');
  if (space == std::string::npos || space == 0) return false;
  const auto plain = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           (c != '\0' && std::strchr("+/=-.@", c) != nullptr);
  };
  return space + 1 < line.size() && line[0] != '@' &&
         std::all_of(line.begin(), line.begin() + static_cast<ptrdiff_t>(space), plain) &&
         std::all_of(line.begin() + static_cast<ptrdiff_t>(space) + 1, line.end(), plain);
}

}  // namespace

absl::Status WriteKnownHosts(const std::string& path, const std::string& host,
                             const std::vector<std::string>& keys) {
  std::string text;
  for (const std::string& key : keys) {
    if (IsKey(key)) absl::StrAppend(&text, host, " ", key, "\n");
  }
  if (text.empty()) {
    return absl::FailedPreconditionError(
        "the guest has no ssh host keys: is an ssh server installed there? `rum exec` needs none");
  }
  std::string fresh = path + ".XXXXXX";
  const int fd = mkostemp(fresh.data(), O_CLOEXEC);
  if (fd < 0) return DiskError(errno, path);
  const ssize_t count = write(fd, text.data(), text.size());
  int error = count < 0 ? errno : count < static_cast<ssize_t>(text.size()) ? ENOSPC : 0;
  close(fd);
  if (error == 0 && rename(fresh.c_str(), path.c_str()) != 0) error = errno;
  if (error == 0) return absl::OkStatus();
  unlink(fresh.c_str());
  return DiskError(error, path);
}

}  // namespace rum
