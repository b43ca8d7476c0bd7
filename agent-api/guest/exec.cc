#include "agent-api/guest/exec.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "agent-api/guest/exec_input.h"
#include "agent-api/guest/exec_streams.h"
#include "agent-api/guest/groups.h"
#include "agent-api/guest/spawn.h"

namespace rum::guest {
namespace {

constexpr size_t kChunk = 32 * 1024;
constexpr int kLookForHostMs = 500;
// To a command without input the host has nothing to say but signals: those may be so late, and one
// that ends before costs no thread.
constexpr int kHearSignalsMs = 100;
constexpr auto kKillAfterTerm = std::chrono::seconds(10);
constexpr int kTimedOut = 124;  // as timeout(1) has it

std::vector<std::string> Environment(const agent::ExecStart& start,
                                     const std::optional<Account>& account) {
  std::map<std::string, std::string> values = {
      {"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
      {"LANG", "C.UTF-8"}};
  values["HOME"] = account ? account->home : "/";
  values["USER"] = values["LOGNAME"] = account ? account->name : "root";
  values["SHELL"] = account ? account->shell : "/bin/sh";
  if (start.pty()) values["TERM"] = "xterm-256color";
  for (const auto& [name, value] : start.env()) values[name] = value;
  std::vector<std::string> lines;
  for (const auto& [name, value] : values) lines.push_back(absl::StrCat(name, "=", value));
  return lines;
}

// Ends the command when its time is over, also while its output waits for the host.
class TimeLimit {
 public:
  TimeLimit(uint64_t milliseconds, ExecInputQueue* input) {
    if (milliseconds == 0) return;
    thread_ = std::thread([this, milliseconds, input] {
      std::unique_lock<std::mutex> guard(mutex_);
      const auto over = [this] { return over_; };
      if (changed_.wait_for(guard, std::chrono::milliseconds(milliseconds), over)) return;
      passed_ = true;
      input->Signal(SIGTERM);
      input->Signal(SIGCONT);  // one that is stopped does not hear it
      if (!changed_.wait_for(guard, kKillAfterTerm, over)) input->Signal(SIGKILL);
    });
  }
  ~TimeLimit() { Stop(); }
  TimeLimit(const TimeLimit&) = delete;
  TimeLimit& operator=(const TimeLimit&) = delete;

  // True: it has passed.
  bool Stop() {
    {
      const std::lock_guard<std::mutex> guard(mutex_);
      over_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
    return passed_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  bool passed_ = false;
  std::thread thread_;
};

using Writer = std::function<bool(const agent::ExecOutput&)>;

// Copies what there is of one output; false: it is at its end. `host_there` becomes false when the
// host does not take it.
bool CopyOutput(int fd, bool error, const Writer& write, bool* host_there) {
  static thread_local std::string buffer(kChunk, '\0');
  const ssize_t n = read(fd, buffer.data(), buffer.size());
  if (n <= 0) return n < 0 && (errno == EINTR || errno == EAGAIN);
  agent::ExecOutput output;
  (error ? output.mutable_standard_error() : output.mutable_standard_output())
      ->assign(buffer.data(), static_cast<size_t>(n));
  *host_there = *host_there && write(output);
  return true;
}

// Tells the host how much input was taken, when that is worth a message.
class TakenTeller {
 public:
  TakenTeller(uint32_t window, const Writer& write) : step_(window / 4), write_(write) {}
  bool Tell(uint64_t taken) {
    if (step_ == 0 || taken - told_ < step_) return true;
    told_ = taken;
    agent::ExecOutput output;
    output.set_input_taken(taken);
    return write_(output);
  }

 private:
  const uint64_t step_;
  const Writer& write_;
  uint64_t told_ = 0;
};

// Moves input and output until the command has ended and what it wrote is taken; false: the host is
// gone, which also a silent command must not outlive.
bool Converse(const ExecStreams& streams, int pidfd, uint32_t window, ExecInputQueue* input,
              const Writer& write, const std::function<bool()>& cancelled) {
  bool host_there = true;
  const auto hear_at = std::chrono::steady_clock::now() + std::chrono::milliseconds(kHearSignalsMs);
  if (streams.in() >= 0) input->Start();
  TakenTeller teller(window, write);
  pollfd fds[5] = {{streams.out(), POLLIN, 0},
                   {streams.err(), POLLIN, 0},
                   {pidfd, POLLIN, 0},
                   {input->wake(), POLLIN, 0},
                   {-1, POLLOUT, 0}};
  while ((fds[2].revents & POLLIN) == 0 && host_there) {
    fds[4].fd = input->HasInput() ? streams.in() : -1;
    const bool heard = input->started();
    const int ready = poll(fds, 5, heard ? kLookForHostMs : kHearSignalsMs);
    if (!heard && (ready == 0 || std::chrono::steady_clock::now() >= hear_at)) input->Start();
    if (ready <= 0) {
      host_there = !cancelled();
      continue;
    }
    if (fds[0].revents != 0 && !CopyOutput(streams.out(), false, write, &host_there))
      fds[0].fd = -1;
    if (fds[1].revents != 0 && !CopyOutput(streams.err(), true, write, &host_there)) fds[1].fd = -1;
    if (fds[4].revents != 0) input->Feed();
    if (fds[3].revents != 0 && cancelled()) host_there = false;
    host_there = host_there && teller.Tell(input->taken());
  }
  // Take what is there, and no more.
  for (const bool error : {false, true}) {
    pollfd more{error ? streams.err() : streams.out(), POLLIN, 0};
    int most = kMostReadsAfterEnd;
    while (host_there && most-- > 0 && poll(&more, 1, 0) == 1 && (more.revents & POLLIN) != 0 &&
           CopyOutput(more.fd, error, write, &host_there)) {
    }
  }
  return host_there;
}

void TellTimedOut(uint64_t timeout_ms, const Writer& write) {
  agent::ExecOutput output;
  output.set_standard_error(absl::StrCat(
      "rum: ended after ", absl::FormatDuration(absl::Milliseconds(timeout_ms)), "\n"));
  write(output);
}

void TellThatItCannotStart(const absl::Status& why,
                           const std::function<bool(agent::ExecInput*)>& read,
                           const Writer& write) {
  agent::ExecOutput output;
  output.set_standard_error(absl::StrCat(std::string(why.message()), "\n"));
  write(output);
  output.set_exit_status(absl::IsNotFound(why) ? 127 : 126);
  write(output);
  agent::ExecInput rest;
  while (read(&rest)) {
  }
}

}  // namespace

absl::Status Exec(const std::function<bool(agent::ExecInput*)>& read, const Writer& write,
                  const std::function<bool()>& cancelled) {
  agent::ExecInput first;
  if (!read(&first) || !first.has_start())
    return absl::InvalidArgumentError("the first message must start a command");
  const agent::ExecStart& start = first.start();
  const auto account = FindAccount(start.user().empty() ? "root" : start.user());
  absl::StatusOr<ExecStreams> streams =
      ExecStreams::Open(start, start.user().empty() ? std::nullopt : account);
  if (!streams.ok()) return streams.status();
  SpawnRequest spawn;
  spawn.argv.assign(start.argv().begin(), start.argv().end());
  spawn.environment = Environment(start, account);
  spawn.cwd = start.cwd().empty() ? "/" : start.cwd();
  spawn.stdin_fd = streams->child_in();
  spawn.stdout_fd = streams->child_out();
  spawn.stderr_fd = streams->child_err();
  spawn.controlling_terminal = start.pty();
  spawn.user = start.user();
  const absl::StatusOr<Child> child = Spawn(spawn);
  streams->CloseChildEnds();
  if (!child.ok()) {
    TellThatItCannotStart(child.status(), read, write);
    return absl::OkStatus();
  }
  ExecInputQueue input(read, &*streams, child->pid);
  TimeLimit limit(start.timeout_ms(), &input);
  const bool host_there =
      Converse(*streams, child->pidfd, start.input_window(), &input, write, cancelled);
  if (!host_there) input.Signal(SIGKILL);
  const bool timed_out = limit.Stop();
  agent::ExecOutput last;
  input.SetEnded();
  const Exit end = Reap(*child);
  if (timed_out) TellTimedOut(start.timeout_ms(), write);
  if (end.signal != 0) last.set_signal(end.signal);
  if (end.signal == 0 || timed_out) last.set_exit_status(timed_out ? kTimedOut : end.exit_status);
  write(last);
  return absl::OkStatus();
}

}  // namespace rum::guest
