#include "agent-api/files/destination.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace rum {
namespace {

constexpr int kFolder = O_RDONLY | O_DIRECTORY | O_CLOEXEC;

std::string WithoutSlashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

absl::Status Refused(const std::string& path, const std::string& why) {
  return absl::FailedPreconditionError(absl::StrCat(path, ": ", why));
}

}  // namespace

std::string LastName(const std::string& path) {
  const std::string plain = WithoutSlashes(path);
  const std::string name = plain.substr(plain.rfind('/') + 1);
  return name == "." || name == ".." ? "" : name;
}

absl::StatusOr<Destination> FindDestination(const std::string& path, const std::string& name,
                                            bool must_be_folder) {
  if (path.empty() || path.find('\0') != std::string::npos) return Refused(path, "not a path");
  struct stat there {};
  const bool exists = stat(path.c_str(), &there) == 0;
  if (!exists && errno != ENOENT) return Refused(path, std::strerror(errno));
  must_be_folder = must_be_folder || path.back() == '/';
  const std::string plain = WithoutSlashes(path);
  Destination destination;
  if (exists && S_ISDIR(there.st_mode)) {
    destination.folder = OwnedFd(open(path.c_str(), kFolder));
    destination.name = name.empty() ? "." : name;
    destination.path = name.empty() ? plain : absl::StrCat(plain == "/" ? "" : plain, "/", name);
    if (!destination.folder.ok()) return Refused(path, std::strerror(errno));
    return destination;
  }
  if (must_be_folder) return Refused(path, exists ? "not a folder" : "there is no such folder");
  const size_t slash = plain.rfind('/');
  std::string parent = slash == std::string::npos ? "." : plain.substr(0, slash + 1);
  destination.folder = OwnedFd(open(parent.c_str(), kFolder));
  if (!destination.folder.ok()) return Refused(WithoutSlashes(parent), std::strerror(errno));
  destination.name = LastName(plain);
  destination.path = plain;
  if (destination.name.empty()) return Refused(path, "not a name");
  return destination;
}

}  // namespace rum
