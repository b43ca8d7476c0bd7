#include "agent-api/standard_streams.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace rum {
namespace {

// What a process that began without the streams of `closed` (a bit each) finds wrong; 0: nothing.
int TryWithout(int closed) {
  const pid_t child = fork();
  if (child == 0) {
    for (int fd = 0; fd <= 2; ++fd) {
      if ((closed >> fd & 1) != 0) close(fd);
    }
    struct stat before[3] = {};
    for (int fd = 0; fd <= 2; ++fd) fstat(fd, &before[fd]);
    HoldStandardStreams();
    const int next = open("/dev/zero", O_RDWR);
    if (next <= 2) _exit(1);
    for (int fd = 0; fd <= 2; ++fd) {
      struct stat after {};
      if (fstat(fd, &after) != 0) _exit(2);
      if ((closed >> fd & 1) == 0) {
        if (after.st_ino != before[fd].st_ino) _exit(3);
        continue;
      }
      if ((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0) _exit(4);
      char byte = 0;
      const ssize_t n = fd == 0 ? read(fd, &byte, 1) : write(fd, "x", 1);
      if (n != -1) _exit(5);
    }
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(StandardStreams, NothingElseGetsTheirNumbersAndWhatIsClosedStaysSo) {
  for (int closed = 0; closed < 8; ++closed) EXPECT_EQ(TryWithout(closed), 0) << closed;
}

}  // namespace
}  // namespace rum
