// What a guest's process can do when it is confined: in processes of their own, for there is no way
// back.
#include "controller/guests/confine.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <new>
#include <string>
#include <thread>

namespace rum {
namespace {

// How a confined process ends that does this: its exit status, or 1000 and the signal.
int Confined(const std::function<int()>& work) {
  const pid_t pid = fork();
  if (pid == 0) {
    if (!Confine().empty()) _exit(99);
    _exit(work());
  }
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

constexpr int kKilled = 1000 + SIGSYS;

TEST(ConfineTest, ItOpensNothingAndConnectsToNothing) {
  ASSERT_TRUE(ConfinesSystemCalls());
  EXPECT_EQ(Confined([] { return open("/etc/passwd", O_RDONLY) < 0 ? errno : 0; }), EPERM);
  EXPECT_EQ(Confined([] { return open("/tmp/x", O_CREAT | O_WRONLY, 0600) < 0 ? errno : 0; }),
            EPERM);
  EXPECT_EQ(Confined([] { return unlink("/tmp/x") < 0 ? errno : 0; }), EPERM);
  char path[8];
  EXPECT_EQ(Confined([&] { return readlink("/proc/self/exe", path, 8) < 0 ? errno : 0; }), EPERM);
  for (const int family : {AF_UNIX, AF_INET, AF_VSOCK, AF_NETLINK}) {
    EXPECT_EQ(Confined([&] { return socket(family, SOCK_STREAM, 0) < 0 ? errno : 0; }), EPERM);
  }
  const int before = socket(AF_INET, SOCK_STREAM, 0);
  EXPECT_EQ(Confined([&] {
              sockaddr_in to{};
              to.sin_family = AF_INET;
              return connect(before, reinterpret_cast<sockaddr*>(&to), sizeof to) < 0 ? errno : 0;
            }),
            EPERM);
  close(before);
}

TEST(ConfineTest, WhatMeansHarmEndsIt) {
  const pid_t other = getpid();
  EXPECT_EQ(Confined([] { return execl("/bin/true", "true", nullptr); }), kKilled);
  EXPECT_EQ(Confined([&] { return kill(other, 0); }), kKilled);
  EXPECT_EQ(Confined([&] { return ptrace(PTRACE_ATTACH, other, 0, 0) < 0 ? 1 : 0; }), kKilled);
  EXPECT_EQ(Confined([] { return static_cast<int>(syscall(SYS_vfork)); }), kKilled);
  EXPECT_EQ(Confined([] { return unshare(CLONE_NEWUSER); }), kKilled);
  EXPECT_EQ(Confined([] { return static_cast<int>(syscall(SYS_bpf, 0, nullptr, 0)); }), kKilled);
  EXPECT_EQ(Confined([] { return static_cast<int>(syscall(SYS_keyctl, 0, 0, 0, 0, 0)); }), kKilled);
  EXPECT_EQ(Confined([] { return static_cast<int>(syscall(SYS_io_uring_setup, 1, nullptr)); }),
            kKilled);
}

TEST(ConfineTest, ByNoWayRoundItReachesAnother) {
  const pid_t other = getpid();
  EXPECT_EQ(Confined([&] { return tgkill(other, other, 0) < 0 ? errno : 0; }), EPERM);
  EXPECT_EQ(Confined([&] { return fcntl(0, F_SETOWN, other) < 0 ? errno : 0; }), EPERM);
  EXPECT_EQ(Confined([&] {
              rlimit limit{};
              return prlimit(other, RLIMIT_NOFILE, nullptr, &limit) < 0 ? errno : 0;
            }),
            EPERM);
  // A process in place of a thread.
  EXPECT_EQ(Confined([] {
              return syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, 0) < 0 ? errno : 0;
            }),
            EPERM);
  EXPECT_EQ(Confined([] { return fork() < 0 ? errno : 0; }), EPERM);
  EXPECT_EQ(Confined([] {
              void* const code = mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
              return code == MAP_FAILED ? errno : 0;
            }),
            EPERM);
  EXPECT_EQ(Confined([] { return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == -1 ? errno : 0; }),
            EPERM);
}

TEST(ConfineTest, ItHasThreadsSocketsAndTimers) {
  EXPECT_EQ(Confined([] {
              int ends[2];
              if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return 1;
              const int epoll = epoll_create1(EPOLL_CLOEXEC);
              epoll_event wanted{EPOLLIN, {}};
              if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &wanted) != 0) return 2;
              std::thread writer([&] {
                if (write(ends[1], "x", 1) != 1) _exit(3);
              });
              epoll_event seen{};
              if (epoll_wait(epoll, &seen, 1, 60'000) != 1) return 4;
              writer.join();
              return 0;
            }),
            0);
}

TEST(ConfineTest, ItsMemoryAndItsDescriptorsHaveAnEnd) {
  EXPECT_EQ(Confined([] {
              void* const some = mmap(nullptr, kMostProcessMemory / 2, PROT_READ,
                                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
              void* const more =
                  mmap(nullptr, kMostProcessMemory, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
              return some != MAP_FAILED && more == MAP_FAILED ? errno : 0;
            }),
            ENOMEM);
  EXPECT_EQ(Confined([] {
              for (size_t i = 0; i <= kMostProcessDescriptors; ++i) {
                if (eventfd(0, EFD_CLOEXEC) < 0) return errno;
              }
              return 0;
            }),
            EMFILE);
}

}  // namespace
}  // namespace rum
