#include "controller/listeners/socket_file.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "controller/listeners/inherited.h"
#include "state/identity.h"

namespace rum {
namespace {

struct Address {
  sockaddr_un bytes{};
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&bytes); }
};

// As getsockname() gives it back. False: the path is too long.
bool MakeAddress(const std::string& path, Address* address) {
  if (path.size() >= sizeof address->bytes.sun_path) return false;
  address->bytes.sun_family = AF_UNIX;
  std::memcpy(address->bytes.sun_path, path.c_str(), path.size() + 1);
  address->size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return true;
}

// What tells a file from any other that ever had its path; "": nothing is there.
std::string MarkOf(const std::string& path) {
  struct statx file {};
  if (statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &file) !=
      0) {
    return "";
  }
  return absl::StrCat(S_ISSOCK(file.stx_mode) ? "socket " : "file ", file.stx_dev_major, ":",
                      file.stx_dev_minor, " ", file.stx_ino, " ", file.stx_btime.tv_sec, ".",
                      file.stx_btime.tv_nsec);
}

std::string NoteOf(const std::string& path) {
  return absl::StrCat(StateDir(), "/sockets/", Sha256Hex(path));
}

std::string ReadNote(const std::string& path) {
  std::ifstream file(NoteOf(path));
  return {std::istreambuf_iterator<char>(file), {}};
}

// 0 or an errno. Whole or not at all.
int WriteNote(const std::string& path) {
  const std::string note = NoteOf(path);
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(note).parent_path(), error);
  {
    std::ofstream file(note + ".new");
    file << MarkOf(path);
    if (!file.flush()) return errno != 0 ? errno : EIO;
  }
  return std::rename((note + ".new").c_str(), note.c_str()) == 0 ? 0 : errno;
}

bool IsListenedAt(const Address& address) {
  const Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.ok()) return true;  // nobody knows
  return connect(fd.get(), address.get(), address.size) == 0 || errno != ECONNREFUSED;
}

// 0: nothing is at the path any more.
int MakeRoom(const std::string& path, const Address& address) {
  const std::string mark = MarkOf(path);
  if (mark.empty()) return 0;
  if (mark.rfind("socket ", 0) == 0 && IsListenedAt(address)) return EADDRINUSE;
  if (!IsOwnSocketFile(path)) return ENOTSOCK;
  return unlink(path.c_str()) == 0 || errno == ENOENT ? 0 : errno;
}

}  // namespace

int ListenAtPath(const std::string& path, Fd* made) {
  Address address;
  if (!MakeAddress(path, &address)) return ENAMETOOLONG;
  *made = TakeInherited(address.get(), address.size);
  if (made->ok() && IsOwnSocketFile(path)) return 0;
  *made = Fd();  // nobody comes to it by a path that leads elsewhere
  if (const int error = MakeRoom(path, address); error != 0) return error;
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.ok()) return errno;
  // The file is made with the socket's mode: at no time may others connect.
  if (fchmod(fd.get(), 0600) != 0) return errno;
  if (bind(fd.get(), address.get(), address.size) != 0) return errno;
  int error = WriteNote(path);
  if (error == 0 && listen(fd.get(), SOMAXCONN) != 0) error = errno;
  if (error != 0) {
    unlink(path.c_str());
    return error;
  }
  *made = std::move(fd);
  return 0;
}

bool IsOwnSocketFile(const std::string& path) {
  const std::string mark = MarkOf(path);
  return mark.rfind("socket ", 0) == 0 && mark == ReadNote(path);
}

void RemoveOwnSocketFile(const std::string& path) {
  if (IsOwnSocketFile(path)) unlink(path.c_str());
  unlink(NoteOf(path).c_str());
}

void RemoveFilesOf(const std::vector<Fd>& sockets) {
  for (const Fd& fd : sockets) {
    sockaddr_un address{};
    socklen_t size = sizeof address;
    if (getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) continue;
    if (address.sun_family != AF_UNIX || size <= offsetof(sockaddr_un, sun_path)) continue;
    const size_t most = size - offsetof(sockaddr_un, sun_path);
    const std::string path(address.sun_path, strnlen(address.sun_path, most));
    if (!path.empty() && IsOwnSocketFile(path)) RemoveOwnSocketFile(path);
  }
}

}  // namespace rum
