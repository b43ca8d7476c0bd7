#include "agent-api/standard_streams.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace rum {
namespace {

// Bare system calls: neither the C library's constructors nor a sanitizer's have run at that time.
#define RUM_BEFORE_ALL_ELSE __attribute__((no_sanitize("address", "thread", "undefined")))

RUM_BEFORE_ALL_ELSE void Hold() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (syscall(SYS_fcntl, fd, F_GETFD) >= 0) continue;
    // The lowest free number is this one. Not closed at exec: a program that follows needs it too.
    const int direction = fd == STDIN_FILENO ? O_WRONLY : O_RDONLY;
    const long held = syscall(SYS_openat, AT_FDCWD, "/dev/null", direction);
    // Nor is there a /dev yet: this cannot be read or written either.
    if (held < 0) syscall(SYS_epoll_create1, 0);
  }
}

// Libraries open descriptors in their constructors; this is before those of shared ones, too.
RUM_BEFORE_ALL_ELSE void HoldFirst(int, char**, char**) { Hold(); }
__attribute__((section(".preinit_array"), used)) void (*const first)(int, char**,
                                                                     char**) = HoldFirst;

}  // namespace

void HoldStandardStreams() { Hold(); }

}  // namespace rum
