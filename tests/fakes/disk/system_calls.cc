// Stands for libc's wrappers of the system calls that change files, in a whole test program: its
// libraries' calls come here too. They tell FragileDisk, and do what libc's do, but that a sync
// costs nothing: no test loses power.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <filesystem>
#include <string>

#include "tests/fakes/disk/fragile_disk.h"

namespace rum {
namespace {

// Of what is open; empty for what has no path.
std::string NameOf(int fd) {
  std::error_code none;
  const std::string name =
      std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), none);
  return name.empty() || name[0] != '/' ? "" : name;
}

std::string NameAt(int folder, const char* path) {
  if (path == nullptr || *path == '/' || folder == AT_FDCWD) return path == nullptr ? "" : path;
  return NameOf(folder) + "/" + path;
}

// Makes the call that `name` is the subject of, unless it is to fail.
template <typename Name, typename Call>
long Make(const Name& name, const Call& call) {
  if (!FragileDisk::Watches()) return call();
  const int before = errno;
  const std::string path = name();
  const int error = path.empty() ? FragileDisk::kElsewhere : FragileDisk::Before(path);
  errno = error > 0 ? error : before;
  if (error > 0) return -1;
  const long result = call();
  const int why = errno;
  if (result >= 0 && error == 0) FragileDisk::After();
  errno = why;
  return result;
}

template <typename Call>
long MakeAt(int folder, const char* path, const Call& call) {
  return Make([&] { return NameAt(folder, path); }, call);
}

template <typename Call>
long MakeOn(int fd, const Call& call) {
  return Make([fd] { return NameOf(fd); }, call);
}

int Open(int folder, const char* path, int flags, va_list more) {
  const bool has_mode = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
  const mode_t mode = has_mode ? va_arg(more, mode_t) : 0;
  const auto call = [&] { return syscall(SYS_openat, folder, path, flags, mode); };
  const bool changes = (flags & (O_CREAT | O_TRUNC)) != 0;
  return static_cast<int>(changes ? MakeAt(folder, path, call) : call());
}

int Sync(int fd) {
  return static_cast<int>(MakeOn(fd, [fd] {
    FragileDisk::Synced(fd);
    return 0L;
  }));
}

}  // namespace
}  // namespace rum

// By the names that the linker knows, since headers may have them as macros or inline.
#define RUM_CALL(result, name, ...)              \
  result rum_##name(__VA_ARGS__) __asm__(#name); \
  result rum_##name(__VA_ARGS__)

extern "C" {

RUM_CALL(int, open, const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const int fd = rum::Open(AT_FDCWD, path, flags, more);
  va_end(more);
  return fd;
}
RUM_CALL(int, open64, const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const int fd = rum::Open(AT_FDCWD, path, flags, more);
  va_end(more);
  return fd;
}
RUM_CALL(int, openat, int folder, const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const int fd = rum::Open(folder, path, flags, more);
  va_end(more);
  return fd;
}
RUM_CALL(ssize_t, write, int fd, const void* bytes, size_t size) {
  return rum::MakeOn(fd, [&] { return syscall(SYS_write, fd, bytes, size); });
}
RUM_CALL(ssize_t, pwrite, int fd, const void* bytes, size_t size, off_t offset) {
  return rum::MakeOn(fd, [&] { return syscall(SYS_pwrite64, fd, bytes, size, offset); });
}
RUM_CALL(ssize_t, pwrite64, int fd, const void* bytes, size_t size, off_t offset) {
  return rum::MakeOn(fd, [&] { return syscall(SYS_pwrite64, fd, bytes, size, offset); });
}
RUM_CALL(int, ftruncate, int fd, off_t size) {
  return static_cast<int>(rum::MakeOn(fd, [&] { return syscall(SYS_ftruncate, fd, size); }));
}
RUM_CALL(int, ftruncate64, int fd, off_t size) {
  return static_cast<int>(rum::MakeOn(fd, [&] { return syscall(SYS_ftruncate, fd, size); }));
}
RUM_CALL(int, fsync, int fd) { return rum::Sync(fd); }
RUM_CALL(int, fdatasync, int fd) { return rum::Sync(fd); }
RUM_CALL(int, rename, const char* from, const char* to) {
  return static_cast<int>(rum::MakeAt(AT_FDCWD, to, [&] { return syscall(SYS_rename, from, to); }));
}
RUM_CALL(int, link, const char* from, const char* to) {
  return static_cast<int>(rum::MakeAt(AT_FDCWD, to, [&] { return syscall(SYS_link, from, to); }));
}
RUM_CALL(int, unlink, const char* path) {
  return static_cast<int>(rum::MakeAt(AT_FDCWD, path, [&] { return syscall(SYS_unlink, path); }));
}
RUM_CALL(int, unlinkat, int folder, const char* path, int flags) {
  return static_cast<int>(
      rum::MakeAt(folder, path, [&] { return syscall(SYS_unlinkat, folder, path, flags); }));
}
RUM_CALL(int, mkdir, const char* path, mode_t mode) {
  return static_cast<int>(
      rum::MakeAt(AT_FDCWD, path, [&] { return syscall(SYS_mkdir, path, mode); }));
}
RUM_CALL(int, chmod, const char* path, mode_t mode) {
  return static_cast<int>(
      rum::MakeAt(AT_FDCWD, path, [&] { return syscall(SYS_chmod, path, mode); }));
}

}  // extern "C"
