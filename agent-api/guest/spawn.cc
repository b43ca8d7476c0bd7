#include "agent-api/guest/spawn.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "agent-api/guest/groups.h"

namespace rum::guest {
namespace {

// Everything that the child needs, made ready before the fork: there only system calls are allowed.
struct Prepared {
  std::vector<char*> argv;
  std::vector<char*> environment;
  std::vector<std::string> candidates;  // paths of the program, in the order to try
  const std::vector<int>* changed_signals;
  const char* cwd;
  int fds[3];
  int stat_fd;
  int cgroup_fd;
  bool controlling_terminal;
  bool switch_user = false;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
};

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& s : strings) pointers.push_back(const_cast<char*>(s.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

std::vector<std::string> Candidates(const std::string& program,
                                    const std::vector<std::string>& environment) {
  if (program.find('/') != std::string::npos) return {program};
  std::string path = "/usr/bin:/bin";
  for (const std::string& line : environment) {
    if (line.rfind("PATH=", 0) == 0) path = line.substr(5);
  }
  std::vector<std::string> candidates;
  for (const auto& folder : absl::StrSplit(path, ':', absl::SkipEmpty())) {
    candidates.push_back(absl::StrCat(std::string(folder), "/", program));
  }
  return candidates;
}

// Raw system calls: glibc's setuid would reach out for all threads, which this child shares memory
// with.
int BecomeUser(const Prepared& p) {
  if (!p.switch_user) return 0;
  if (syscall(SYS_setgroups, p.groups.size(), p.groups.data()) != 0) return errno;
  if (syscall(SYS_setresgid, p.gid, p.gid, p.gid) != 0) return errno;
  return syscall(SYS_setresuid, p.uid, p.uid, p.uid) != 0 ? errno : 0;
}

int RecordStat(int to) {
  if (to < 0) return 0;
  char buffer[4096];
  const int from = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
  if (from < 0) return errno;
  const ssize_t size = read(from, buffer, sizeof buffer);
  close(from);
  if (size <= 0) return EIO;
  return write(to, buffer, static_cast<size_t>(size)) == size ? 0 : ENOSPC;
}

// What spawned programs get; 0: nothing was raised.
rlimit old_descriptor_limit{};

// The signals that do not do here what they do by default, as it was at our first spawn: one look
// instead of a system call for each signal in each child.
const std::vector<int>& ChangedSignals() {
  static const std::vector<int> changed = [] {
    std::vector<int> signals;
    struct sigaction now {};
    for (int signal = 1; signal < NSIG; ++signal) {
      if (sigaction(signal, nullptr, &now) == 0 && now.sa_handler != SIG_DFL)
        signals.push_back(signal);
    }
    return signals;
  }();
  return changed;
}

// In the child after vfork: returns only with an errno, and what it was about.
int RunChild(const Prepared& p, const char* volatile* about) {
  syscall(SYS_setsid);
  struct sigaction defaults {};
  defaults.sa_handler = SIG_DFL;
  for (const int signal : *p.changed_signals) sigaction(signal, &defaults, nullptr);
  sigset_t none;
  sigemptyset(&none);
  for (int i = 0; i < 3; ++i) {
    if (dup2(p.fds[i], i) < 0) return errno;
  }
  RestoreDescriptorLimit();
  if (p.controlling_terminal) ioctl(0, TIOCSCTTY, 0);
  if (const int failed = RecordStat(p.stat_fd)) return failed;
  if (p.cgroup_fd >= 0) syscall(SYS_write, p.cgroup_fd, "0", 1);  // refused: it stays where we are
  if (const int failed = BecomeUser(p)) return failed;
  if (chdir(p.cwd) != 0) {
    *about = p.cwd;
    return errno;
  }
  sigprocmask(SIG_SETMASK, &none, nullptr);
  int error = ENOENT;
  for (const std::string& path : p.candidates) {
    // A look costs less than an execve that fails: that builds half a process first.
    if (p.candidates.size() > 1 && access(path.c_str(), F_OK) != 0 && errno == ENOENT) continue;
    execve(path.c_str(), p.argv.data(), p.environment.data());
    if (errno != ENOENT && errno != ENOTDIR) error = errno;
  }
  return error;
}

}  // namespace

void RaiseDescriptorLimit() {
  if (getrlimit(RLIMIT_NOFILE, &old_descriptor_limit) != 0) return;
  rlimit raised = old_descriptor_limit;
  raised.rlim_cur = raised.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &raised) != 0) old_descriptor_limit = {};
}

void RestoreDescriptorLimit() {
  if (old_descriptor_limit.rlim_max != 0) setrlimit(RLIMIT_NOFILE, &old_descriptor_limit);
}

absl::StatusOr<Child> Spawn(const SpawnRequest& request) {
  if (request.argv.empty() || request.argv[0].empty())
    return absl::InvalidArgumentError("there is no command to run");
  Prepared p;
  p.argv = Pointers(request.argv);
  p.environment = Pointers(request.environment);
  p.candidates = Candidates(request.argv[0], request.environment);
  p.changed_signals = &ChangedSignals();
  p.cwd = request.cwd.c_str();
  p.stat_fd = request.stat_fd;
  p.cgroup_fd = request.cgroup_fd;
  p.controlling_terminal = request.controlling_terminal;
  if (!request.user.empty()) {
    const auto account = FindAccount(request.user);
    if (!account) return NoAccount(request.user);
    p.switch_user = true;
    p.uid = account->uid;
    p.gid = account->gid;
    p.groups = GroupIdsOf(request.user);
  }
  const int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  const int given[3] = {request.stdin_fd, request.stdout_fd, request.stderr_fd};
  for (int i = 0; i < 3; ++i) p.fds[i] = given[i] >= 0 ? given[i] : null_fd;

  // Signals stay blocked across vfork: a handler of ours must not run in the child, which has our
  // memory.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  volatile int child_error = 0;
  const char* volatile about = p.argv[0];
  SpawnMutex().lock();
  const pid_t pid = vfork();
  if (pid == 0) {
    child_error = RunChild(p, &about);
    _exit(127);
  }
  const int fork_error = errno;
  SpawnMutex().unlock();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  close(null_fd);
  if (pid < 0)
    return absl::ResourceExhaustedError(absl::StrCat("vfork: ", std::strerror(fork_error)));
  if (child_error != 0) {
    waitpid(pid, nullptr, 0);
    const std::string text = absl::StrCat(about, ": ", std::strerror(child_error));
    if (child_error == ENOENT && about == p.argv[0]) return absl::NotFoundError(text);
    return absl::PermissionDeniedError(text);
  }
  Child child;
  child.pid = pid;
  child.pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (child.pidfd < 0) {
    const int error = errno;
    kill(-pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return absl::UnimplementedError(absl::StrCat("pidfd_open (Linux 5.3): ", std::strerror(error)));
  }
  fcntl(child.pidfd, F_SETFD, FD_CLOEXEC);
  return child;
}

std::mutex& SpawnMutex() {
  static std::mutex mutex;
  return mutex;
}

Exit Reap(const Child& child) {
  int status = 0;
  while (waitpid(child.pid, &status, 0) < 0 && errno == EINTR) {
  }
  close(child.pidfd);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 0, WIFSIGNALED(status) ? WTERMSIG(status) : 0};
}

}  // namespace rum::guest
