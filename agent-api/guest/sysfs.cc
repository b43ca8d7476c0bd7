#include "agent-api/guest/sysfs.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "agent-api/first_line.h"

namespace rum::guest {

std::vector<std::string> NamesIn(const std::string& folder) {
  std::vector<std::string> names;
  DIR* const entries = opendir(folder.c_str());
  if (entries == nullptr) return names;
  while (const dirent* const entry = readdir(entries)) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  closedir(entries);
  return names;
}

std::vector<unsigned> NumbersIn(const std::string& folder, const std::string& prefix) {
  std::vector<unsigned> numbers;
  for (const std::string& name : NamesIn(folder)) {
    unsigned number = 0;
    if (absl::StartsWith(name, prefix) && absl::SimpleAtoi(name.substr(prefix.size()), &number))
      numbers.push_back(number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

std::string ReadAttribute(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return "";
  char page[4096];
  const ssize_t size = read(fd, page, sizeof page);
  close(fd);
  return size > 0 ? FirstLine(std::string(page, static_cast<size_t>(size))) : "";
}

absl::Status WriteAttribute(const std::string& path, const std::string& value) {
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  const bool written =
      fd >= 0 && write(fd, value.data(), value.size()) == static_cast<ssize_t>(value.size());
  const int error = errno;
  if (fd >= 0) close(fd);
  if (written) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(path, ": ", value, ": ", std::strerror(error)));
}

}  // namespace rum::guest
