#include "agent-api/guest/file_attributes.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent-api/guest/file_rights.h"

namespace rum::guest {
namespace {

constexpr char kAcl[] = "system.posix_acl_access";

std::set<std::string> AttributeNames(int fd) {
  std::string list(XATTR_LIST_MAX, '\0');
  const ssize_t size = flistxattr(fd, list.data(), list.size());
  std::set<std::string> names;
  for (size_t at = 0; size > 0 && at < static_cast<size_t>(size);) {
    const std::string name = list.c_str() + at;
    names.insert(name);
    at += name.size() + 1;
  }
  return names;
}

std::optional<std::string> Attribute(int fd, const std::string& name) {
  std::string value(XATTR_SIZE_MAX, '\0');
  const ssize_t size = fgetxattr(fd, name.c_str(), value.data(), value.size());
  if (size < 0) return std::nullopt;
  value.resize(static_cast<size_t>(size));
  return value;
}

bool IsKept(const std::string& name) {
  return name != "security.capability" && name != "security.ima" && name != "security.evm";
}

absl::Status KeepExtendedAttributes(int from, int to, const std::string& path) {
  const std::set<std::string> names = AttributeNames(from);
  for (const std::string& name : names) {
    const std::optional<std::string> value = Attribute(from, name);
    if (!IsKept(name) || !value.has_value() || value == Attribute(to, name)) continue;
    if (fsetxattr(to, name.c_str(), value->data(), value->size(), 0) == 0) continue;
    // A security module gives new files of a folder labels itself, and may keep others from it.
    if (absl::StartsWith(name, "security.")) continue;
    return absl::InternalError(absl::StrCat(path, " cannot be replaced: its attribute ", name,
                                            " would be lost: ", strerror(errno)));
  }
  // What the folder gives to new files.
  if (names.count(kAcl) == 0) fremovexattr(to, kAcl);
  return absl::OkStatus();
}

int FlagsOf(int fd) {
  int flags = 0;
  return fd >= 0 && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 ? flags : 0;
}

// Empty: none that keeps anybody from replacing it.
std::string FlagText(int fd, const std::string& path) {
  const int flags = FlagsOf(fd);
  if ((flags & FS_IMMUTABLE_FL) != 0) return absl::StrCat("immutable (chattr -i ", path, ")");
  if ((flags & FS_APPEND_FL) != 0) return absl::StrCat("append-only (chattr -a ", path, ")");
  return "";
}

}  // namespace

absl::Status KeepAttributes(int from, int to, const std::string& path) {
  struct stat old {};
  if (fstat(from, &old) != 0) {
    return absl::InternalError(absl::StrCat(path, ": ", std::strerror(errno)));
  }
  if (absl::Status kept = KeepExtendedAttributes(from, to, path); !kept.ok()) return kept;
  const AsItself own;
  if (fchown(to, old.st_uid, old.st_gid) != 0 || fchmod(to, old.st_mode & 0777) != 0) {
    return absl::InternalError(absl::StrCat(
        path, " cannot be replaced: its owner and mode would be lost: ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

absl::Status NotReplaced(const std::string& path, int folder, int file, int error) {
  const std::string what = absl::StrCat(path, " in the guest cannot be written: ");
  const std::string parent = path.substr(0, path.rfind('/'));
  std::string why = std::strerror(error);
  if (error == EBUSY) {
    why = "something is mounted on it (edit the file that is mounted there, or unmount it)";
  } else if (error == EROFS) {
    why = "its filesystem is mounted read-only";
  } else if (error == EPERM || error == EACCES) {
    const std::string of_file = FlagText(file, path);
    const std::string of_folder = FlagText(folder, parent);
    if (!of_file.empty()) why = absl::StrCat("it is ", of_file);
    if (of_file.empty() && !of_folder.empty()) why = absl::StrCat("its folder is ", of_folder);
  }
  return absl::InternalError(absl::StrCat(what, why));
}

}  // namespace rum::guest
