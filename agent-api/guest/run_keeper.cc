#include "agent-api/guest/run_keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <sstream>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "agent-api/guest/run_cgroup.h"
#include "agent-api/guest/spawn.h"
#include "agent-api/guest/text_file.h"
#include "agent-api/run_log/run_log.h"

extern char** environ;

namespace rum::guest {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMostRead = 64 * 1024;
constexpr std::chrono::seconds kGrace{10};  // from SIGTERM to SIGKILL
constexpr size_t kOutcomeSize = 80;
constexpr int kMostKillMs = 5000;  // a process in the hands of a broken disk does not go

// Field 22 of a /proc/PID/stat: with the pid, a process's name for as long as the boot lasts.
std::string StartTime(const std::string& stat) {
  const size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos) return "";
  std::istringstream fields(stat.substr(name_end + 1));
  std::string field;
  for (int i = 3; i <= 22; ++i) fields >> field;
  return field;
}

class Keeper {
 public:
  Keeper(const std::string& folder, uint32_t timeout_s)
      : folder_(folder), cgroup_(folder.substr(folder.rfind('/') + 1)) {
    if (timeout_s > 0) end_at_ = Clock::now() + std::chrono::seconds(timeout_s);
  }

  int Run(const sigset_t& kept) {
    signals_ = signalfd(-1, &kept, SFD_CLOEXEC | SFD_NONBLOCK);
    auto log = RunLogWriter::Open(folder_);
    if (log.ok()) log_ = *std::move(log);
    ReserveOutcome();
    if (Start()) {
      if (CancelAsked()) Cancel();  // before we could be told
      Follow();
    }
    if (log_ != nullptr) (void)log_->Sync();
    if (exit_.well()) ending_ = agent::ScriptRun::BY_ITSELF;  // just in time
    if (shutting_down_ && !exit_.well()) return 1;            // interrupted
    return WriteOutcome() ? 0 : 1;
  }

 private:
  bool Start() {
    int out[2];
    int err[2];
    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) {
      Say(absl::StrCat("pipe: ", std::strerror(errno), "\n"));
      exit_.exit_status = 126;
      return false;
    }
    out_ = out[0];
    err_ = err[0];
    SpawnRequest spawn;
    const std::string script = folder_ + "/script";
    char start[2] = {};
    const int file = open(script.c_str(), O_RDONLY | O_CLOEXEC);
    const bool shebang = read(file, start, 2) == 2 && start[0] == '#' && start[1] == '!';
    close(file);
    spawn.argv =
        shebang ? std::vector<std::string>{script} : std::vector<std::string>{"/bin/sh", script};
    for (char** line = environ; *line != nullptr; ++line) spawn.environment.emplace_back(*line);
    spawn.stdout_fd = out[1];
    spawn.stderr_fd = err[1];
    spawn.stat_fd =
        open((folder_ + "/process").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    spawn.cgroup_fd = cgroup_.procs_fd();
    const auto child = Spawn(spawn);
    close(out[1]), close(err[1]), close(spawn.stat_fd);
    if (child.ok()) {
      child_ = *child;
      return true;
    }
    // What cannot be started has ended as the shell says it: 127 not found, 126 not runnable.
    Say(absl::StrCat(child.status().message(), "\n"));
    exit_.exit_status = absl::IsNotFound(child.status()) ? 127 : 126;
    return false;
  }

  void Follow() {
    pollfd fds[4] = {
        {out_, POLLIN, 0}, {err_, POLLIN, 0}, {child_.pidfd, POLLIN, 0}, {signals_, POLLIN, 0}};
    while ((fds[2].revents & POLLIN) == 0) {
      const int ready = poll(fds, 4, PollTimeout());
      if (ready < 0) continue;
      EndWhatIsDue();
      if (ready == 0) continue;
      if (fds[0].revents != 0 && !Copy(out_, false)) fds[0].fd = -1;
      if (fds[1].revents != 0 && !Copy(err_, true)) fds[1].fd = -1;
      if (fds[3].revents != 0) Hear();
    }
    // A daemon that the script left behind may hold its outputs for ever: take what is there, and
    // no more.
    for (const auto& [fd, error] : {std::pair{out_, false}, {err_, true}}) {
      fcntl(fd, F_SETFL, O_NONBLOCK);
      pollfd more{fd, POLLIN, 0};
      int most = kMostReadsAfterEnd;
      while (most-- > 0 && poll(&more, 1, 0) == 1 && (more.revents & POLLIN) != 0 &&
             Copy(fd, error)) {
      }
    }
    if (term_sent_)
      kill(-child_.pid, SIGKILL), cgroup_.Kill();  // nothing of a cancelled run goes on
    exit_ = Reap(child_);
    Hear();
  }

  // Copies what is there; false at the end of the stream.
  bool Copy(int fd, bool error) {
    const ssize_t n = read(fd, buffer_.data(), buffer_.size());
    if (n <= 0) return n < 0 && (errno == EINTR || errno == EAGAIN);
    Put(buffer_.substr(0, static_cast<size_t>(n)), error);
    return true;
  }

  // A full disk loses output, never the run; the reader sees that it is missing.
  void Put(const std::string& bytes, bool error) {
    if (log_ != nullptr)
      (void)log_->Append({written_, absl::ToUnixMillis(absl::Now()), error, bytes});
    written_ += bytes.size();
  }

  void Say(const std::string& text) { Put(text, true); }

  // SIGTERM is the agent's, with a file that says so, or the system's that goes down: whatever the
  // script does then, it was interrupted.
  void Hear() {
    signalfd_siginfo info{};
    if (read(signals_, &info, sizeof info) != sizeof info) return;
    if (CancelAsked()) {
      Cancel();
    } else {
      shutting_down_ = true;
    }
  }

  bool CancelAsked() const { return access((folder_ + "/cancel").c_str(), F_OK) == 0; }

  void Cancel() {
    if (ending_ == agent::ScriptRun::BY_ITSELF) ending_ = agent::ScriptRun::CANCELLED;
    Terminate();
  }

  void Terminate() {
    if (std::exchange(term_sent_, true)) return;
    kill(-child_.pid, SIGTERM);
    end_at_ = Clock::now() + kGrace;
  }

  void EndWhatIsDue() {
    if (end_at_ == Clock::time_point::max() || Clock::now() < end_at_) return;
    if (term_sent_) {
      kill(-child_.pid, SIGKILL);
      cgroup_.Kill();
      end_at_ = Clock::time_point::max();
    } else {
      ending_ = agent::ScriptRun::TIMED_OUT;
      Terminate();
    }
  }

  int PollTimeout() const {
    if (end_at_ == Clock::time_point::max()) return -1;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end_at_ - Clock::now());
    return static_cast<int>(std::clamp<int64_t>(left.count() + 1, 0, 60 * 1000));
  }

  // The place of the outcome on the disk, which the script may fill.
  void ReserveOutcome() {
    outcome_ =
        open((folder_ + "/outcome.new").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (posix_fallocate(outcome_, 0, kOutcomeSize) != 0) {
      // A full disk already: perhaps not any more at the end.
    }
  }

  // Not flushed: nobody is told of the end before the ledger has it on disk. When power fails
  // until then, the run was interrupted.
  bool WriteOutcome() {
    // It will not run again on this disk: what it did must outlast a power cut as its outcome does.
    const char* kind = std::getenv("RUM_KIND");
    if (kind != nullptr && kind == std::string("system")) sync();
    std::string text =
        absl::StrCat(absl::ToUnixMillis(absl::Now()), " ", exit_.exit_status, " ", exit_.signal,
                     " ", static_cast<int>(ending_), " ", written_, "\n");
    text.resize(std::max(text.size(), kOutcomeSize), ' ');
    return pwrite(outcome_, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()) &&
           rename((folder_ + "/outcome.new").c_str(), (folder_ + "/outcome").c_str()) == 0;
  }

  const std::string folder_;
  const RunCgroup cgroup_;
  std::unique_ptr<RunLogWriter> log_;
  std::string buffer_ = std::string(kMostRead, '\0');
  uint64_t written_ = 0;
  int signals_ = -1;
  int outcome_ = -1;
  int out_ = -1;  // read ends of the script's outputs
  int err_ = -1;
  Child child_;
  Clock::time_point end_at_ = Clock::time_point::max();  // SIGTERM then, or SIGKILL after it
  bool term_sent_ = false;
  bool shutting_down_ = false;
  Exit exit_;
  agent::ScriptRun::Ending ending_ = agent::ScriptRun::BY_ITSELF;
};

}  // namespace

int KeepRun(const std::string& folder, uint32_t timeout_s) {
  // Nobody's child: the agent that started us may not be the one that sees us end.
  const pid_t pid = fork();
  if (pid != 0) return pid > 0 ? 0 : 1;
  prctl(PR_SET_NAME, "rum-run");
  sigset_t kept;
  sigemptyset(&kept);
  sigaddset(&kept, SIGTERM);
  sigprocmask(SIG_BLOCK, &kept, nullptr);  // before anybody knows our pid
  const int lock = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd < 3; ++fd) dup2(null, fd);
  const std::string name = absl::StrCat(getpid(), "\n");
  if (ftruncate(lock, 0) != 0 || pwrite(lock, name.data(), name.size(), 0) < 0) {
    // A disk that is full: the run goes on and cannot be cancelled.
  }
  const int status = Keeper(folder, timeout_s).Run(kept);
  flock(lock, LOCK_UN);  // who hears of the close finds it free
  close(lock);
  return status;
}

bool ReadOutcome(const std::string& folder, agent::ScriptRun* run) {
  std::istringstream text(ReadFile(folder + "/outcome"));
  int64_t ended_ms = 0;
  int exit_status = 0;
  int signal = 0;
  int ending = 0;
  uint64_t output_bytes = 0;
  if (!(text >> ended_ms >> exit_status >> signal >> ending >> output_bytes)) return false;
  run->set_ended_ms(ended_ms);
  run->set_exit_status(exit_status);
  run->set_signal(signal);
  run->set_ending(static_cast<agent::ScriptRun::Ending>(ending));
  run->set_output_bytes(output_bytes);
  return true;
}

void EndScriptOf(const std::string& folder) {
  const std::string stat = ReadFile(folder + "/process");
  const pid_t pid = std::atoi(stat.c_str());
  const std::string now = pid > 1 ? ReadFile(absl::StrCat("/proc/", pid, "/stat")) : "";
  if (now.empty() || StartTime(now) != StartTime(stat)) return;
  const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (pidfd < 0) return;
  kill(-pid, SIGKILL);
  pollfd gone{pidfd, POLLIN, 0};
  poll(&gone, 1, kMostKillMs);
  close(pidfd);
}

}  // namespace rum::guest
