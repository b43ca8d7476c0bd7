#include "agent-api/guest/scripts.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "agent-api/guest/spawn.h"
#include "agent-api/guest/text_file.h"

namespace rum::guest {
namespace {

constexpr size_t kChunk = 32 * 1024;
constexpr size_t kMostPiece = 1024 * 1024;
constexpr uint64_t kMostOutput = 64 * 1024 * 1024;
constexpr int kMostKillMs = 5000;  // a process in the hands of a broken disk does not go
constexpr size_t kMostKeptOutputs = 20;

int64_t NowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

bool ValidRunId(const std::string& id) {
  return !id.empty() && id.size() <= 64 &&
         id.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") ==
             std::string::npos;
}

// Output on disk: for each piece one byte (1: stdout, 2: stderr), four of its length (little
// endian), then the bytes.
void AppendPiece(int fd, char stream, const std::string& bytes) {
  const off_t start = lseek(fd, 0, SEEK_END);
  std::string piece(1, stream);
  for (int i = 0; i < 4; ++i) piece.push_back(static_cast<char>(bytes.size() >> (8 * i)));
  piece += bytes;
  // A full disk loses output, never the run.
  for (size_t done = 0; done < piece.size();) {
    const ssize_t n = write(fd, piece.data() + done, piece.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      if (start >= 0 && ftruncate(fd, start) != 0) return;  // half a piece would hide the next ones
      return;
    }
    done += static_cast<size_t>(n);
  }
}

// Field 22 of a /proc/PID/stat: with the pid, a process's name for as long as the boot lasts.
std::string StartTime(const std::string& stat) {
  const size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos) return "";
  std::istringstream fields(stat.substr(name_end + 1));
  std::string field;
  for (int i = 3; i <= 22; ++i) fields >> field;
  return field;
}

// The outputs of old runs go; their ledger lines stay.
void PruneOutputs(const std::string& runs_folder) {
  std::error_code ignored;
  std::vector<std::filesystem::directory_entry> entries;
  for (const auto& entry : std::filesystem::directory_iterator(runs_folder, ignored))
    entries.push_back(entry);
  std::sort(entries.begin(), entries.end(), [&](const auto& a, const auto& b) {
    std::error_code error;
    return a.last_write_time(error) < b.last_write_time(error);
  });
  for (size_t i = 0; i + kMostKeptOutputs < entries.size(); ++i) {
    std::filesystem::remove_all(entries[i].path(), ignored);
  }
}

}  // namespace

struct Scripts::Live {
  agent::ScriptRun run;
  Child child;
  int out = -1;  // read ends of the script's outputs
  int err = -1;
  int log = -1;
  uint64_t pieces = 0;  // in the log
  bool ended = false;
};

Scripts::Scripts(const std::string& folder) : folder_(folder), ledger_(folder + "/ledger") {
  std::error_code ignored;
  std::filesystem::create_directories(folder_ + "/runs", ignored);
  chmod(folder_.c_str(), 0700);
  EndLeftovers();
}

// An earlier agent of this boot was killed while these ran. Nobody can follow them to their end,
// and a new run beside one would be twice the same script.
void Scripts::EndLeftovers() {
  for (const agent::ScriptRun& run : ledger_.runs()) {
    if (run.ended_ms() != 0 || run.boot_id() != BootId()) continue;
    const std::string stat = ReadFile(FolderOf(run.run_id()) + "/process");
    const pid_t pid = std::atoi(stat.c_str());
    const std::string now = pid > 1 ? ReadFile(absl::StrCat("/proc/", pid, "/stat")) : "";
    if (now.empty() || StartTime(now) != StartTime(stat)) continue;
    const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
    if (pidfd < 0) continue;
    kill(-pid, SIGKILL);
    pollfd gone{pidfd, POLLIN, 0};
    poll(&gone, 1, kMostKillMs);
    close(pidfd);
  }
}

std::vector<agent::ScriptRun> Scripts::Runs() {
  const std::lock_guard<std::mutex> guard(mutex_);
  return ledger_.runs();
}

absl::Status Scripts::Run(const agent::RunScriptRequest& request,
                          const std::function<bool(const agent::RunScriptEvent&)>& sink) {
  if (!ValidRunId(request.run_id()))
    return absl::InvalidArgumentError("run_id: 1 to 64 letters, digits and '-'");
  std::shared_ptr<Live> live;
  {
    std::unique_lock<std::mutex> guard(mutex_);
    for (;;) {
      const auto same_id = live_.find(request.run_id());
      if (same_id != live_.end()) {
        live = same_id->second;
        break;
      }
      const auto old = ledger_.Find(request.run_id());
      if (old && old->ended_ms() != 0) break;
      const bool busy = std::any_of(live_.begin(), live_.end(), [&](const auto& l) {
        return l.second->run.kind() == request.kind();
      });
      if (!busy) {
        live = std::make_shared<Live>();
        const absl::Status status = Start(request, live);
        if (!status.ok()) return status;
        break;
      }
      changed_.wait(guard);
    }
  }
  uint64_t offset = 0;
  uint64_t seen = 0;
  for (bool ended = false; !ended;) {
    ended = live == nullptr;
    if (live != nullptr) {
      std::unique_lock<std::mutex> guard(mutex_);
      changed_.wait(guard, [&] { return live->ended || live->pieces != seen; });
      seen = live->pieces;
      ended = live->ended;
    }
    if (!SendOutput(request.run_id(), &offset, sink)) return absl::OkStatus();
  }
  agent::RunScriptEvent event;
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    *event.mutable_ended() = *ledger_.Find(request.run_id());
  }
  sink(event);
  return absl::OkStatus();
}

absl::Status Scripts::Start(const agent::RunScriptRequest& request,
                            const std::shared_ptr<Live>& live) {
  std::error_code error;
  PruneOutputs(folder_ + "/runs");
  const std::string folder = FolderOf(request.run_id());
  std::filesystem::create_directories(folder, error);
  const std::string script = folder + "/script";
  absl::Status status;
  {
    const std::lock_guard<std::mutex> guard(SpawnMutex());
    status = WriteFileAtomically(script, request.script(), 0700);
  }
  if (!status.ok()) return status;
  live->run.set_kind(request.kind());
  live->run.set_content_hash(request.content_hash());
  live->run.set_boot_id(BootId());
  live->run.set_run_id(request.run_id());
  live->run.set_started_ms(NowMs());
  // The start is on disk before the script can do anything: a guest that dies in the middle of it
  // is known.
  status = ledger_.Put(live->run);
  if (!status.ok()) return status;
  int out[2];
  int err[2];
  if (pipe2(out, O_CLOEXEC) != 0)
    return absl::ResourceExhaustedError(absl::StrCat("pipe: ", std::strerror(errno)));
  if (pipe2(err, O_CLOEXEC) != 0) {
    close(out[0]), close(out[1]);
    return absl::ResourceExhaustedError(absl::StrCat("pipe: ", std::strerror(errno)));
  }
  live->log =
      open((folder + "/output").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
  SpawnRequest spawn;
  const bool shebang = request.script().rfind("#!", 0) == 0;
  spawn.argv =
      shebang ? std::vector<std::string>{script} : std::vector<std::string>{"/bin/sh", script};
  spawn.environment = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                       "HOME=/root",
                       "LANG=C.UTF-8",
                       "RUM_MACHINE=" + request.machine(),
                       "RUM_KIND=" + request.kind(),
                       "RUM_BOOT_ID=" + live->run.boot_id()};
  spawn.stdout_fd = out[1];
  spawn.stderr_fd = err[1];
  // Written before the script can do anything, for an agent that is killed right after.
  spawn.stat_fd =
      open((folder + "/process").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const auto child = Spawn(spawn);
  close(out[1]), close(err[1]), close(spawn.stat_fd);
  live->out = out[0];
  live->err = err[0];
  if (child.ok()) {
    live->child = *child;
    live_[request.run_id()] = live;
    std::thread([this, live] { Follow(live); }).detach();
    return absl::OkStatus();
  }
  // What cannot be started has ended as the shell says it: 127 not found, 126 not runnable.
  close(out[0]), close(err[0]);
  AppendPiece(live->log, 2, absl::StrCat(child.status().message(), "\n"));
  close(live->log), live->log = -1;
  live->run.set_ended_ms(NowMs());
  live->run.set_exit_status(absl::IsNotFound(child.status()) ? 127 : 126);
  live->ended = true;
  return ledger_.Put(live->run);
}

void Scripts::Follow(std::shared_ptr<Live> live) {
  std::string buffer(kChunk, '\0');
  uint64_t written = 0;
  // Copies what is there; false at the end of the stream.
  const auto copy = [&](int fd, char stream) {
    const ssize_t n = read(fd, buffer.data(), buffer.size());
    if (n <= 0) return n < 0 && (errno == EINTR || errno == EAGAIN);
    if (written < kMostOutput)
      AppendPiece(live->log, stream, buffer.substr(0, static_cast<size_t>(n)));
    if (written < kMostOutput && written + static_cast<uint64_t>(n) >= kMostOutput) {
      AppendPiece(live->log, 2, "\n[rum: output beyond 64 MiB was not kept]\n");
    }
    written += static_cast<uint64_t>(n);
    const std::lock_guard<std::mutex> guard(mutex_);
    ++live->pieces;
    changed_.notify_all();
    return true;
  };
  pollfd fds[3] = {{live->out, POLLIN, 0}, {live->err, POLLIN, 0}, {live->child.pidfd, POLLIN, 0}};
  while ((fds[2].revents & POLLIN) == 0) {
    if (poll(fds, 3, -1) < 0) continue;
    if (fds[0].revents != 0 && !copy(live->out, 1)) fds[0].fd = -1;
    if (fds[1].revents != 0 && !copy(live->err, 2)) fds[1].fd = -1;
  }
  // A daemon that the script left behind may hold its outputs for ever: take what is there, and no
  // more.
  for (const auto& [fd, stream] : {std::pair{live->out, 1}, {live->err, 2}}) {
    fcntl(fd, F_SETFL, O_NONBLOCK);
    pollfd more{fd, POLLIN, 0};
    int most = kMostReadsAfterEnd;
    while (most-- > 0 && poll(&more, 1, 0) == 1 && (more.revents & POLLIN) != 0 &&
           copy(fd, static_cast<char>(stream))) {
    }
    close(fd);
  }
  int exit_status = 0;
  int signal = 0;
  Reap(live->child.pid, &exit_status, &signal);
  close(live->child.pidfd);
  const std::lock_guard<std::mutex> guard(mutex_);
  live->run.set_exit_status(exit_status);
  live->run.set_signal(signal);
  live->run.set_ended_ms(NowMs());
  if (const absl::Status status = ledger_.Put(live->run); !status.ok()) {
    AppendPiece(live->log, 2, absl::StrCat("[rum: ", status.message(), "]\n"));
  }
  close(live->log);
  live->ended = true;
  live_.erase(live->run.run_id());
  changed_.notify_all();
  if (on_end_) on_end_();
}

bool Scripts::SendOutput(const std::string& run_id, uint64_t* offset,
                         const std::function<bool(const agent::RunScriptEvent&)>& sink) {
  const int fd = open((FolderOf(run_id) + "/output").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return true;  // pruned: the outcome is still known
  bool going_on = true;
  for (unsigned char head[5]; going_on && pread(fd, head, 5, static_cast<off_t>(*offset)) == 5;) {
    const uint32_t size =
        head[1] | head[2] << 8 | head[3] << 16 | static_cast<uint32_t>(head[4]) << 24;
    if (size > kMostPiece) break;  // not ours: the disk's
    std::string bytes(size, '\0');
    if (pread(fd, bytes.data(), size, static_cast<off_t>(*offset + 5)) !=
        static_cast<ssize_t>(size))
      break;
    *offset += 5 + size;
    agent::RunScriptEvent event;
    *(head[0] == 2 ? event.mutable_standard_error() : event.mutable_standard_output()) =
        std::move(bytes);
    going_on = sink(event);
  }
  close(fd);
  return going_on;
}

}  // namespace rum::guest
