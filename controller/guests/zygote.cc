#include "controller/guests/zygote.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace rum {
namespace {

constexpr size_t kMostName = 256;
// Of the host's sockets 0 to 2 are what they were, and this is a guest's process's own one.
constexpr int kSocket = 3;
// When memory runs out, the kernel ends guests' processes before what they work for.
constexpr char kOomScore[] = "300";
// Between the end of a zygote and the next one.
constexpr int kAgainMs = 100;
// For the zygote to fork: it has nothing else to do.
constexpr int kForkPatienceMs = 60'000;

constexpr char kNoZygote[] =
    "the process that makes them is gone: `rum controller stop`, and the next command starts "
    "another "
    "controller";

// What the zygote says by a leash: first this, and how it ended in the end, as of waitpid(2).
struct Born {
  int32_t error = 0;
  int32_t pid = -1;
};

// Where `ps` finds what a process is.
struct Title {
  char* begin = nullptr;
  char* end = nullptr;

  void Set(const std::string& text) const {
    if (begin == nullptr) return;
    const size_t size = std::min(text.size(), static_cast<size_t>(end - begin) - 1);
    std::memset(begin, 0, static_cast<size_t>(end - begin));
    std::memcpy(begin, text.data(), size);
  }
};

// All arguments and the environment, as far as they lie one behind the other.
Title TitleOf(int argc, char** argv) {
  if (argc == 0) return {};
  Title title{argv[0], argv[0]};
  for (int i = 0; i < argc; ++i) {
    if (argv[i] == title.end) title.end += std::strlen(argv[i]) + 1;
  }
  for (char** one = environ; one != nullptr && *one != nullptr; ++one) {
    if (*one == title.end) title.end += std::strlen(*one) + 1;
  }
  return title;
}

int control = -1;  // the controller's end of the zygote's socket

class Nursery {
 public:
  Nursery(int control, Title title, GuestWork work)
      : control_(control), title_(title), work_(work) {
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_SETMASK, &child, nullptr);
    ended_ = Fd(signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK));
  }

  // Until the controller ends, and all with it.
  void Run() {
    for (;;) {
      std::vector<pollfd> asked = {{control_, POLLIN, 0}, {ended_.get(), POLLIN, 0}};
      for (const Child& child : children_) asked.push_back({child.leash.get(), POLLIN, 0});
      if (poll(asked.data(), asked.size(), -1) < 0) continue;
      for (size_t i = 0; i < children_.size(); ++i) {
        // Nobody says anything by a leash: it was let go.
        if (asked[i + 2].revents != 0 && !std::exchange(children_[i].let_go, true)) {
          kill(children_[i].pid, SIGKILL);
          children_[i].leash = Fd();
        }
      }
      if (asked[1].revents != 0) Reap();
      if (asked[0].revents != 0 && !Take()) return;
    }
  }

 private:
  struct Child {
    pid_t pid = -1;
    Fd leash;
    bool let_go = false;
  };

  void Reap() {
    signalfd_siginfo ignored;
    while (read(ended_.get(), &ignored, sizeof ignored) > 0) {
    }
    int status = 0;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
      const auto child = std::find_if(children_.begin(), children_.end(),
                                      [pid](const Child& one) { return one.pid == pid; });
      if (child == children_.end()) continue;
      const int32_t how = status;
      if (child->leash.ok()) send(child->leash.get(), &how, sizeof how, MSG_NOSIGNAL);
      children_.erase(child);
    }
  }

  bool Take() {
    std::array<char, kMostName> name{};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(2 * sizeof(int))> rights{};
    iovec part{name.data(), name.size()};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = rights.data();
    header.msg_controllen = rights.size();
    const ssize_t got = recvmsg(control_, &header, MSG_CMSG_CLOEXEC);
    if (got <= 0) return got < 0 && errno == EINTR;
    std::vector<Fd> fds;
    const cmsghdr* one = CMSG_FIRSTHDR(&header);
    for (size_t at = 0; one != nullptr && at + sizeof(int) <= one->cmsg_len - CMSG_LEN(0);
         at += sizeof(int)) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(one) + at, sizeof fd);
      fds.emplace_back(fd);
    }
    // There was no descriptor for them: whoever asked sees the end of the leash.
    if (fds.size() == 2) {
      Fork({name.data(), static_cast<size_t>(got)}, std::move(fds[0]), std::move(fds[1]));
    }
    return true;
  }

  void Fork(const std::string& machine, Fd socket, Fd leash) {
    const pid_t pid = fork();
    if (pid == 0) Be(machine, socket.get());
    const Born born{pid < 0 ? errno : 0, pid};
    send(leash.get(), &born, sizeof born, MSG_NOSIGNAL);
    if (pid > 0) children_.push_back({pid, std::move(leash)});
  }

  [[noreturn]] void Be(const std::string& machine, int socket) const {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, absl::StrCat("rum: ", machine).c_str());
    environ = nullptr;
    title_.Set(absl::StrCat("rum-controller: guest ", machine));
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    if (const int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC); score >= 0) {
      // It is a wish: some kernels' owners allow none.
      const ssize_t written = write(score, kOomScore, sizeof kOomScore - 1);
      static_cast<void>(written);
      close(score);
    }
    if (socket != kSocket) dup2(socket, kSocket);
    close_range(kSocket + 1, ~0U, 0);
    work_(kSocket);
    _exit(0);
  }

  const int control_;
  const Title title_;
  const GuestWork work_;
  Fd ended_;
  std::vector<Child> children_;
};

// Forks a zygote, and another one where that was killed; all guests' processes end with theirs. One
// that ends by itself has seen the controller's end.
[[noreturn]] void KeepZygote(int socket, Title title, GuestWork work) {
  prctl(PR_SET_NAME, "rum: guests");
  // Of the descriptors that this program was started with only the error output is kept: whoever
  // waits for the others to be closed waits for the controller, not for this.
  const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO}) dup2(nothing, fd);
  if (socket != kSocket) dup2(socket, kSocket);
  close_range(kSocket + 1, ~0U, 0);
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  environ = nullptr;  // which lies there
  title.Set("rum-controller: guests");
  // They end with the controller, whoever means the whole group.
  for (const int signal_number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE}) {
    signal(signal_number, SIG_IGN);
  }
  for (;;) {
    const pid_t pid = fork();
    if (pid == 0) {
      Nursery(kSocket, title, work).Run();
      _exit(0);
    }
    int status = 0;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (pid > 0 && !WIFSIGNALED(status)) _exit(0);
    pollfd end{kSocket, 0, 0};
    if (poll(&end, 1, kAgainMs) == 1) _exit(0);
  }
}

std::string HowItEnded(int status) {
  if (WIFSIGNALED(status)) {
    return absl::StrCat("killed by signal ", WTERMSIG(status), " (", strsignal(WTERMSIG(status)),
                        ")");
  }
  return absl::StrCat("exit status ", WEXITSTATUS(status));
}

// What came by the leash; false: nothing within `patience_ms`, or its end.
template <typename What>
bool Hear(const Fd& leash, int patience_ms, What* what) {
  pollfd ask{leash.get(), POLLIN, 0};
  int ready = 0;
  while ((ready = poll(&ask, 1, patience_ms)) < 0 && errno == EINTR) {
  }
  return ready == 1 && recv(leash.get(), what, sizeof *what, 0) == sizeof *what;
}

}  // namespace

absl::Status StartZygote(int argc, char** argv, GuestWork work) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return absl::UnavailableError(absl::StrCat("socketpair: ", std::strerror(errno)));
  }
  const pid_t pid = fork();
  if (pid == 0) KeepZygote(ends[1], TitleOf(argc, argv), work);
  close(ends[1]);
  if (pid < 0) {
    close(ends[0]);
    return absl::UnavailableError(absl::StrCat("fork: ", std::strerror(errno)));
  }
  control = ends[0];
  return absl::OkStatus();
}

absl::StatusOr<Leashed> SpawnGuestProcess(const std::string& machine, Fd socket) {
  if (control < 0) return absl::UnavailableError(kNoZygote);
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return absl::UnavailableError(absl::StrCat("socketpair: ", std::strerror(errno)));
  }
  Fd leash(ends[0]);
  Fd other(ends[1]);
  std::string name = machine.substr(0, kMostName);
  for (char& c : name) c = std::isprint(static_cast<unsigned char>(c)) != 0 ? c : '?';
  if (name.empty()) name = "?";
  const int fds[] = {socket.get(), other.get()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof fds)> rights{};
  iovec part{name.data(), name.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = rights.data();
  header.msg_controllen = rights.size();
  cmsghdr* one = CMSG_FIRSTHDR(&header);
  one->cmsg_level = SOL_SOCKET;
  one->cmsg_type = SCM_RIGHTS;
  one->cmsg_len = CMSG_LEN(sizeof fds);
  std::memcpy(CMSG_DATA(one), fds, sizeof fds);
  ssize_t sent = 0;
  while ((sent = sendmsg(control, &header, MSG_NOSIGNAL)) < 0 && errno == EINTR) {
  }
  if (sent < 0) return absl::UnavailableError(kNoZygote);
  socket = Fd();
  other = Fd();
  Born born;
  if (!Hear(leash, kForkPatienceMs, &born)) {
    return absl::UnavailableError(kNoZygote);
  }
  if (born.error != 0) {
    return absl::UnavailableError(
        absl::StrCat("fork: ", std::strerror(born.error),
                     born.error == EAGAIN
                         ? "; this user may have no more (`ulimit -u`, or TasksMax= of a service)"
                         : ""));
  }
  return Leashed(std::move(leash), born.pid);
}

std::string Leashed::End(int patience_ms) {
  int32_t status = 0;
  const bool ended = leash_.ok() && Hear(leash_, patience_ms, &status);
  leash_ = Fd();
  return ended ? HowItEnded(status) : "it did not end";
}

}  // namespace rum
