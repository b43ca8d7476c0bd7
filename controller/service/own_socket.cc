#include "controller/service/own_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "absl/strings/str_cat.h"

namespace rum {
namespace {

std::string User(uid_t user) { return user == 0 ? "root" : absl::StrCat("user ", user); }

constexpr char kRemedy[] =
    "take XDG_RUNTIME_DIR and RUM_RUNTIME_DIR out of the environment (`sudo` without -E), or set "
    "RUM_RUNTIME_DIR to a folder of your own";

// `what` with "belongs to" or the like at its end.
absl::Status NotOurs(const std::string& what, uid_t owner) {
  return absl::PermissionDeniedError(
      absl::StrCat(what, " ", User(owner), ", and this is ", User(geteuid()),
                   ": rum has to do with its own user's controller alone. ",
                   owner == 0 ? "" : absl::StrCat("Run rum as ", User(owner), ", or "), kRemedy));
}

absl::Status CannotUse(const std::string& path) {
  const std::string text = absl::StrCat(path, ": ", std::strerror(errno));
  if (errno == ENOENT || errno == ENOTDIR) return absl::NotFoundError(text);
  if (errno == EACCES) return absl::PermissionDeniedError(absl::StrCat(text, ": ", kRemedy));
  return absl::InternalError(text);
}

}  // namespace

absl::Status JudgeSocketFolder(const std::string& folder) {
  struct stat info {};
  const std::string above = std::filesystem::path(folder).parent_path();
  // Nobody can exchange what is ours in a folder with the sticky bit, such as /tmp.
  if (stat(above.c_str(), &info) == 0 && info.st_uid != geteuid() && info.st_uid != 0 &&
      (info.st_mode & S_ISVTX) == 0) {
    return NotOurs(absl::StrCat(above, " belongs to"), info.st_uid);
  }
  if (lstat(folder.c_str(), &info) != 0) return CannotUse(folder);
  if (info.st_uid != geteuid()) return NotOurs(absl::StrCat(folder, " belongs to"), info.st_uid);
  if (S_ISLNK(info.st_mode)) {
    return absl::PermissionDeniedError(
        absl::StrCat(folder, " is a link: name the folder itself in RUM_RUNTIME_DIR"));
  }
  if (!S_ISDIR(info.st_mode)) return absl::PermissionDeniedError(folder + " is not a folder");
  return absl::OkStatus();
}

absl::Status JudgeSocket(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path();
  if (absl::Status judged = JudgeSocketFolder(folder); !judged.ok()) return judged;
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) return CannotUse(path);
  if (info.st_uid != geteuid()) return NotOurs(absl::StrCat(path, " belongs to"), info.st_uid);
  if (!S_ISSOCK(info.st_mode)) return absl::NotFoundError(path + " is not a socket");
  if (lstat(folder.c_str(), &info) != 0) return CannotUse(folder);
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return absl::PermissionDeniedError(
        absl::StrCat(folder, " is shared with other users, who can write in it: `chmod go-w '",
                     folder, "'`, or set RUM_RUNTIME_DIR to a folder of your own"));
  }
  return absl::OkStatus();
}

absl::Status JudgePeer(int fd, const std::string& path) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return CannotUse(path);
  if (peer.uid == geteuid()) return absl::OkStatus();
  return NotOurs(absl::StrCat("at the other end of ", path, " is"), peer.uid);
}

}  // namespace rum
