#include "agent-api/guest/exec.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <map>
#include <thread>

#include "absl/strings/str_cat.h"
#include "agent-api/guest/groups.h"
#include "agent-api/guest/spawn.h"

namespace rum::guest {
namespace {

constexpr size_t kChunk = 32 * 1024;
constexpr int kLookForHostMs = 500;

// The agent's ends of the command's streams. With a terminal all three are one.
struct Streams {
  int in = -1;
  int out = -1;
  int err = -1;
  int child_in = -1;
  int child_out = -1;
  int child_err = -1;
  bool pty = false;

  void CloseChildEnds() {
    for (int* fd : {&child_in, &child_out, &child_err}) {
      if (*fd >= 0 && (!pty || fd == &child_in)) close(*fd);
      *fd = -1;
    }
  }
};

bool OpenPipes(const agent::ExecStart& start, Streams* s) {
  int in[2];
  int out[2];
  int err[2];
  // A socket for stdin: shutdown() ends also a write that waits for the command to read.
  if (!start.no_input()) {  // otherwise /dev/null
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in) != 0) return false;
    s->in = in[1], s->child_in = in[0];
    shutdown(s->child_in, SHUT_WR);
  }
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) return false;
  s->out = out[0], s->child_out = out[1];
  s->err = err[0], s->child_err = err[1];
  return true;
}

bool OpenPty(const agent::ExecStart& start, Streams* s) {
  const int leader = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  int number = -1;
  int unlock = 0;
  if (leader < 0 || ioctl(leader, TIOCSPTLCK, &unlock) != 0 ||
      ioctl(leader, TIOCGPTN, &number) != 0)
    return false;
  const int follower =
      open(absl::StrCat("/dev/pts/", number).c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (follower < 0) return false;
  winsize size{};
  size.ws_row = static_cast<unsigned short>(start.rows());
  size.ws_col = static_cast<unsigned short>(start.columns());
  ioctl(leader, TIOCSWINSZ, &size);
  s->pty = true;
  s->in = s->out = leader;
  s->child_in = s->child_out = s->child_err = follower;
  return true;
}

std::vector<std::string> Environment(const agent::ExecStart& start) {
  std::map<std::string, std::string> values = {
      {"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
      {"LANG", "C.UTF-8"}};
  const auto account = FindAccount(start.user().empty() ? "root" : start.user());
  values["HOME"] = account ? account->home : "/";
  values["USER"] = values["LOGNAME"] = account ? account->name : "root";
  values["SHELL"] = account ? account->shell : "/bin/sh";
  if (start.pty()) values["TERM"] = "xterm-256color";
  for (const auto& [name, value] : start.env()) values[name] = value;
  std::vector<std::string> lines;
  for (const auto& [name, value] : values) lines.push_back(absl::StrCat(name, "=", value));
  return lines;
}

void Feed(int fd, const std::string& data) {
  for (size_t done = 0; done < data.size();) {
    const ssize_t n = write(fd, data.data() + done, data.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;  // the command does not read any more
    done += static_cast<size_t>(n);
  }
}

// Passes the host's messages on until there are none.
void PassInput(const std::function<bool(agent::ExecInput*)>& read, const Streams& streams,
               pid_t pid, const std::atomic<bool>& ended, const std::function<bool()>& cancelled) {
  agent::ExecInput input;
  bool open = streams.in >= 0;
  const auto close_input = [&] {
    if (!open) return;
    open = false;
    if (streams.pty) {
      Feed(streams.in, std::string(1, '\x04'));  // end of file of a terminal: ^D
    } else {
      shutdown(streams.in, SHUT_WR);
    }
  };
  while (read(&input)) {
    if (input.has_standard_input() && open) Feed(streams.in, input.standard_input());
    if (input.has_close_input()) close_input();
    if (input.has_signal() && !ended) kill(-pid, input.signal());
    if (input.has_start() && streams.pty) {  // a changed window
      winsize size{};
      size.ws_row = static_cast<unsigned short>(input.start().rows());
      size.ws_col = static_cast<unsigned short>(input.start().columns());
      ioctl(streams.in, TIOCSWINSZ, &size);
    }
  }
  close_input();
  if (cancelled() && !ended) kill(-pid, SIGKILL);
}

// Copies output until the command has ended and what it wrote is taken; false: the host is gone,
// which also a silent command must not outlive.
bool PassOutput(const Streams& streams, int pidfd,
                const std::function<bool(const agent::ExecOutput&)>& write,
                const std::function<bool()>& cancelled) {
  std::string buffer(kChunk, '\0');
  bool host_there = true;
  const auto copy = [&](int fd, bool error) {
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n <= 0) return n < 0 && errno == EINTR;
    agent::ExecOutput output;
    (error ? output.mutable_standard_error() : output.mutable_standard_output())
        ->assign(buffer.data(), static_cast<size_t>(n));
    host_there = host_there && write(output);
    return true;
  };
  pollfd fds[3] = {{streams.out, POLLIN, 0}, {streams.err, POLLIN, 0}, {pidfd, POLLIN, 0}};
  while ((fds[2].revents & POLLIN) == 0 && host_there) {
    if (poll(fds, 3, kLookForHostMs) <= 0) {
      host_there = !cancelled();
      continue;
    }
    if (fds[0].revents != 0 && !copy(streams.out, false)) fds[0].fd = -1;
    if (fds[1].revents != 0 && !copy(streams.err, true)) fds[1].fd = -1;
  }
  // Take what is there, and no more.
  for (const bool error : {false, true}) {
    pollfd more{error ? streams.err : streams.out, POLLIN, 0};
    int most = kMostReadsAfterEnd;
    while (host_there && most-- > 0 && poll(&more, 1, 0) == 1 && (more.revents & POLLIN) != 0 &&
           copy(more.fd, error)) {
    }
  }
  return host_there;
}

}  // namespace

absl::Status Exec(const std::function<bool(agent::ExecInput*)>& read,
                  const std::function<bool(const agent::ExecOutput&)>& write,
                  const std::function<bool()>& cancelled) {
  agent::ExecInput first;
  if (!read(&first) || !first.has_start())
    return absl::InvalidArgumentError("the first message must start a command");
  const agent::ExecStart& start = first.start();
  Streams streams;
  if (!(start.pty() ? OpenPty(start, &streams) : OpenPipes(start, &streams))) {
    return absl::ResourceExhaustedError(
        absl::StrCat("streams of the command: ", std::strerror(errno)));
  }
  SpawnRequest spawn;
  spawn.argv.assign(start.argv().begin(), start.argv().end());
  spawn.environment = Environment(start);
  spawn.cwd = start.cwd().empty() ? "/" : start.cwd();
  spawn.stdin_fd = streams.child_in;
  spawn.stdout_fd = streams.child_out;
  spawn.stderr_fd = streams.child_err;
  spawn.controlling_terminal = start.pty();
  spawn.user = start.user();
  const auto child = Spawn(spawn);
  streams.CloseChildEnds();
  agent::ExecOutput last;
  std::atomic<bool> ended = false;
  if (child.ok()) {
    std::thread input([&] { PassInput(read, streams, child->pid, ended, cancelled); });
    const bool host_there = PassOutput(streams, child->pidfd, write, cancelled);
    if (!host_there) kill(-child->pid, SIGKILL);
    int exit_status = 0;
    int signal = 0;
    ended = true;
    // A write to a command that does not read ends, also when its stdin lives on in another
    // process.
    if (!streams.pty && streams.in >= 0) shutdown(streams.in, SHUT_RDWR);
    Reap(child->pid, &exit_status, &signal);
    close(child->pidfd);
    if (signal != 0) last.set_signal(signal);
    if (signal == 0) last.set_exit_status(exit_status);
    write(last);
    input.join();
  } else {
    last.set_standard_error(absl::StrCat(child.status().message(), "\n"));
    write(last);
    last.set_exit_status(absl::IsNotFound(child.status()) ? 127 : 126);
    write(last);
    agent::ExecInput rest;
    while (read(&rest)) {
    }
  }
  if (streams.in >= 0) close(streams.in);
  if (!streams.pty) close(streams.out), close(streams.err);
  return absl::OkStatus();
}

}  // namespace rum::guest
