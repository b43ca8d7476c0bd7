#include "controller/guests/confine.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>

namespace rum {
namespace {

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define RUM_SANITIZED 1
#endif
#endif
#ifdef RUM_SANITIZED
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

// Of a thread: gRPC's and ours need less, and the usual 8 MiB would be counted.
constexpr size_t kStack = 512 << 10;

constexpr int kAllowed[] = {
    // Bytes.
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(readv),
    SCMP_SYS(writev),
    SCMP_SYS(pread64),
    SCMP_SYS(lseek),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(recvmmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),
    SCMP_SYS(sendmmsg),
    SCMP_SYS(shutdown),
    SCMP_SYS(close),
    SCMP_SYS(dup),
    SCMP_SYS(dup2),
    SCMP_SYS(dup3),
    SCMP_SYS(fstat),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    // What is made of nothing.
    SCMP_SYS(socketpair),
    SCMP_SYS(pipe2),
    SCMP_SYS(eventfd2),
    SCMP_SYS(timerfd_create),
    SCMP_SYS(timerfd_settime),
    SCMP_SYS(timerfd_gettime),
    SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_create),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_pwait2),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(select),
    SCMP_SYS(pselect6),
    // Memory.
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(membarrier),
    // Threads.
    SCMP_SYS(futex),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(get_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(set_tid_address),
    SCMP_SYS(gettid),
    SCMP_SYS(getpid),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sched_getparam),
    SCMP_SYS(sched_getscheduler),
    SCMP_SYS(getcpu),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(alarm),
    SCMP_SYS(setitimer),
    // What time it is, and what all may know.
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getrandom),
    SCMP_SYS(uname),
    SCMP_SYS(sysinfo),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(getrusage),
};

// Whoever asks for these means harm: no library does.
constexpr int kDeadly[] = {
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(kill),
    SCMP_SYS(tkill),
    SCMP_SYS(rt_sigqueueinfo),
    SCMP_SYS(rt_tgsigqueueinfo),
    SCMP_SYS(pidfd_open),
    SCMP_SYS(pidfd_send_signal),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(move_mount),
    SCMP_SYS(open_tree),
    SCMP_SYS(fsopen),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(unshare),
    SCMP_SYS(setns),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(keyctl),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(io_uring_enter),
    SCMP_SYS(io_uring_register),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load),
    SCMP_SYS(reboot),
    SCMP_SYS(seccomp),
    SCMP_SYS(memfd_create),
};

// Allows `call` where its argument `nth`, masked, is `value`.
bool AllowWhere(scmp_filter_ctx filter, int call, unsigned nth, uint64_t mask, uint64_t value) {
  const scmp_arg_cmp that = {nth, SCMP_CMP_MASKED_EQ, mask, value};
  return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 1, &that) == 0;
}

bool AllowParts(scmp_filter_ctx filter) {
  constexpr uint64_t kAll = ~uint64_t{0};
  constexpr uint64_t kInt = 0xffffffff;
  bool done = true;
  // F_SETOWN would send signals to others.
  for (const int command : {F_GETFL, F_SETFL, F_GETFD, F_SETFD, F_DUPFD, F_DUPFD_CLOEXEC}) {
    done = done && AllowWhere(filter, SCMP_SYS(fcntl), 1, kInt, static_cast<uint64_t>(command));
  }
  for (const unsigned long request : {FIONBIO, FIONREAD}) {
    done = done && AllowWhere(filter, SCMP_SYS(ioctl), 1, kInt, request);
  }
  for (const int what : {PR_SET_NAME, PR_GET_NAME, PR_SET_VMA}) {
    done = done && AllowWhere(filter, SCMP_SYS(prctl), 0, kInt, static_cast<uint64_t>(what));
  }
  // Its own limits, to look at.
  const scmp_arg_cmp own[] = {{0, SCMP_CMP_EQ, 0, 0}, {2, SCMP_CMP_EQ, 0, 0}};
  done = done && seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2, own) == 0;
  done = done && AllowWhere(filter, SCMP_SYS(mmap), 2, PROT_EXEC, 0);
  done = done && AllowWhere(filter, SCMP_SYS(mprotect), 2, PROT_EXEC, 0);
  done = done && AllowWhere(filter, SCMP_SYS(clone), 0, CLONE_THREAD, CLONE_THREAD);
  // Of abort().
  done = done && AllowWhere(filter, SCMP_SYS(tgkill), 0, kAll, static_cast<uint64_t>(getpid()));
  return done;
}

std::string FilterSystemCalls() {
  const std::unique_ptr<void, decltype(&seccomp_release)> filter(
      seccomp_init(SCMP_ACT_ERRNO(EPERM)), seccomp_release);
  bool done = filter != nullptr;
  for (const int call : kAllowed) {
    done = done && seccomp_rule_add_array(filter.get(), SCMP_ACT_ALLOW, call, 0, nullptr) == 0;
  }
  for (const int call : kDeadly) {
    done =
        done && seccomp_rule_add_array(filter.get(), SCMP_ACT_KILL_PROCESS, call, 0, nullptr) == 0;
  }
  // Its flags are in memory, where no filter sees them: the C library takes clone(2) then.
  done = done && seccomp_rule_add_array(filter.get(), SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0,
                                        nullptr) == 0;
  done = done && AllowParts(filter.get());
  if (!done) return "seccomp: the filter could not be made";
  const int loaded = seccomp_load(filter.get());
  return loaded == 0 ? "" : std::string("seccomp: ") + std::strerror(-loaded);
}

bool Limit(__rlimit_resource_t what, size_t most) {
  rlimit limit{};
  if (getrlimit(what, &limit) != 0) return false;
  limit.rlim_cur = limit.rlim_max = std::min<rlim_t>(most, limit.rlim_max);
  return setrlimit(what, &limit) == 0;
}

// Mapped now, in bytes.
size_t Mapped() {
  size_t pages = 0;
  FILE* const file = std::fopen("/proc/self/statm", "re");
  if (file == nullptr || std::fscanf(file, "%zu", &pages) != 1) pages = 0;
  if (file != nullptr) std::fclose(file);
  return pages * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

std::string Failed(const char* what) { return std::string(what) + ": " + std::strerror(errno); }

}  // namespace

bool ConfinesSystemCalls() { return !kSanitized; }

std::string Confine() {
  pthread_attr_t threads;
  pthread_attr_init(&threads);
  pthread_attr_setstacksize(&threads, kStack);
  if (!kSanitized) pthread_setattr_default_np(&threads);
  pthread_attr_destroy(&threads);
  if (!Limit(RLIMIT_CORE, 0) || !Limit(RLIMIT_NOFILE, kMostProcessDescriptors)) {
    return Failed("setrlimit");
  }
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return Failed("prctl");
  if (kSanitized) return "";
  const size_t mapped = Mapped();
  if (mapped == 0) return "/proc/self/statm cannot be read";
  if (!Limit(RLIMIT_AS, mapped + kMostProcessMemory)) return Failed("setrlimit");
  return FilterSystemCalls();
}

}  // namespace rum
