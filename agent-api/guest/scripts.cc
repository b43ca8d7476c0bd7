#include "agent-api/guest/scripts.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "agent-api/guest/run_keeper.h"
#include "agent-api/guest/run_watch.h"
#include "agent-api/guest/spawn.h"
#include "agent-api/guest/text_file.h"
#include "agent-api/run_log/run_log.h"

namespace rum::guest {
namespace {

constexpr size_t kMostKeptOutputs = 10;     // of each kind
constexpr size_t kMostEvent = 32 * 1024;    // bytes of output in one
constexpr std::chrono::seconds kLookUp{1};  // how soon a follower that has gone is noticed
constexpr char kBootKind[] = "boot";

bool ValidRunId(const std::string& id) {
  return !id.empty() && id.size() <= 64 &&
         id.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") ==
             std::string::npos;
}

bool IsOver(const agent::ScriptRun& run) {
  return run.ended_ms() != 0 || run.ending() == agent::ScriptRun::INTERRUPTED;
}

// The outputs of old runs go; their ledger lines stay.
void PruneOutputs(const std::string& folder, const std::vector<agent::ScriptRun>& runs) {
  std::map<std::string, size_t> kept;
  std::set<std::string> stay;
  for (auto run = runs.rbegin(); run != runs.rend(); ++run) {
    if (!IsOver(*run) || ++kept[run->kind()] < kMostKeptOutputs) stay.insert(run->run_id());
  }
  std::error_code ignored;
  std::vector<std::filesystem::path> old;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    if (stay.count(entry.path().filename()) == 0) old.push_back(entry.path());
  }
  for (const auto& path : old) std::filesystem::remove_all(path, ignored);
}

// Passes on what the log has; false: nobody wants more.
bool SendOutput(RunLogReader* log, const Scripts::Sink& sink) {
  OutputPiece piece;
  while (log->Next(&piece)) {
    for (size_t at = 0; at < piece.bytes.size(); at += kMostEvent) {
      agent::RunScriptEvent event;
      event.set_offset(piece.offset + at);
      event.set_time_ms(piece.time_ms);
      *(piece.error ? event.mutable_standard_error() : event.mutable_standard_output()) =
          piece.bytes.substr(at, kMostEvent);
      if (!sink(event)) return false;
    }
  }
  return true;
}

}  // namespace

struct Scripts::Live {
  std::string kind;
  uint64_t changes = 0;
};

Scripts::Scripts(const std::string& folder, std::string program)
    : folder_(folder), program_(std::move(program)), ledger_(folder + "/ledger") {
  std::error_code ignored;
  std::filesystem::create_directories(folder_ + "/runs", ignored);
  chmod(folder_.c_str(), 0700);
  // Of a damaged file no half: its names would be in all that the agent says.
  if (!boot_script_.ParseFromString(ReadFile(folder_ + "/boot-script"))) boot_script_.Clear();
  Adopt();
}

// Runs that an agent before this one did not see end: they go on under their keepers, or ended
// meanwhile, or broke off.
void Scripts::Adopt() {
  const std::vector<agent::ScriptRun> runs = ledger_.runs();
  for (const agent::ScriptRun& run : runs) {
    if (IsOver(run)) continue;
    if (run.boot_id() == BootId() && HasKeeper(FolderOf(run.run_id()))) {
      Watch(run);
    } else {
      Settle(run);
    }
  }
}

void Scripts::Settle(agent::ScriptRun run) {
  const std::string folder = FolderOf(run.run_id());
  if (!ReadOutcome(folder, &run)) {
    // Nobody can follow what its keeper left behind, and a new run beside it would be twice the
    // same script.
    if (run.boot_id() == BootId()) EndScriptOf(folder);
    run.set_ending(agent::ScriptRun::INTERRUPTED);
  }
  if (const absl::Status status = ledger_.PutEnd(run); !status.ok()) {
    std::fprintf(stderr, "rum-agent: ledger: %s\n", std::string(status.message()).c_str());
  }
}

void Scripts::OnEnd(std::function<void()> on_end) {
  const std::lock_guard<std::mutex> guard(mutex_);
  on_end_ = std::move(on_end);
}

void Scripts::Watch(const agent::ScriptRun& run) {
  const auto live = std::make_shared<Live>();
  live->kind = run.kind();
  live_[run.run_id()] = live;
  std::thread([this, live, run] {
    WatchRun(FolderOf(run.run_id()), [&] {
      const std::lock_guard<std::mutex> guard(mutex_);
      ++live->changes;
      changed_.notify_all();
    });
    std::unique_lock<std::mutex> guard(mutex_);
    Settle(run);
    live_.erase(run.run_id());
    changed_.notify_all();
    const std::function<void()> on_end = on_end_;
    guard.unlock();
    if (on_end) on_end();
  }).detach();
}

std::vector<agent::ScriptRun> Scripts::Runs() {
  const std::lock_guard<std::mutex> guard(mutex_);
  return ledger_.runs();
}

absl::Status Scripts::Run(const agent::RunScriptRequest& request, const Sink& sink,
                          const Gone& gone) {
  if (!ValidRunId(request.run_id()))
    return absl::InvalidArgumentError("run_id: 1 to 64 letters, digits and '-'");
  {
    std::unique_lock<std::mutex> guard(mutex_);
    if (absl::Status started = StartWhenFree(request, &guard); !started.ok()) return started;
  }
  return Follow(request.run_id(), request.offset(), sink, gone);
}

absl::Status Scripts::StartWhenFree(const agent::RunScriptRequest& request,
                                    std::unique_lock<std::mutex>* guard) {
  for (;;) {
    if (ledger_.Find(request.run_id())) return absl::OkStatus();
    std::string last;
    for (const agent::ScriptRun& run : ledger_.runs()) {
      if (run.kind() == request.kind()) last = run.run_id();
    }
    if (request.has_last_run_id() && request.last_run_id() != last) {
      return absl::AbortedError(
          absl::StrCat("the ", request.kind(), " script has run meanwhile, as ", last));
    }
    const bool busy = std::any_of(live_.begin(), live_.end(), [&](const auto& live) {
      return live.second->kind == request.kind();
    });
    if (!busy) return Start(request);
    changed_.wait(*guard);
  }
}

absl::Status Scripts::Start(const agent::RunScriptRequest& request) {
  PruneOutputs(folder_ + "/runs", ledger_.runs());
  if (absl::Status status = MakeFolder(request); !status.ok()) return status;
  agent::ScriptRun run;
  run.set_kind(request.kind());
  run.set_content_hash(request.content_hash());
  run.set_boot_id(BootId());
  run.set_run_id(request.run_id());
  run.set_started_ms(absl::ToUnixMillis(absl::Now()));
  const int lock = LockRun(FolderOf(request.run_id()));
  if (lock < 0) return absl::InternalError(absl::StrCat("lock: ", std::strerror(errno)));
  // The start is on disk before the script can do anything: a guest that dies in the middle of it
  // is known.
  absl::Status status = ledger_.Put(run);
  if (status.ok()) {
    status = StartKeeper(request, lock);
    close(lock);
    if (status.ok()) {
      Watch(run);
    } else {
      Settle(run);
    }
    return status;
  }
  close(lock);
  return status;
}

absl::Status Scripts::MakeFolder(const agent::RunScriptRequest& request) {
  const std::string folder = FolderOf(request.run_id());
  std::error_code error;
  std::filesystem::remove_all(folder, error);  // of a run that was begun but never in the ledger
  if (!std::filesystem::create_directories(folder, error))
    return absl::InternalError(absl::StrCat("create ", folder, ": ", error.message()));
  const std::lock_guard<std::mutex> guard(SpawnMutex());
  absl::Status status = WriteNewFile(folder + "/script", request.script(), 0700);
  if (!status.ok() || request.kind() != kBootKind ||
      boot_script_.content_hash() == request.content_hash()) {
    return status;
  }
  boot_script_.set_script(request.script());
  boot_script_.set_content_hash(request.content_hash());
  boot_script_.set_machine(request.machine());
  boot_script_.set_timeout_s(request.timeout_s());
  return WriteFileAtomically(folder_ + "/boot-script", boot_script_.SerializeAsString(), 0600);
}

absl::Status Scripts::StartKeeper(const agent::RunScriptRequest& request, int lock) {
  SpawnRequest spawn;
  spawn.argv = {program_, kKeepRun, FolderOf(request.run_id()), absl::StrCat(request.timeout_s())};
  spawn.environment = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                       "HOME=/root",
                       "LANG=C.UTF-8",
                       "RUM_MACHINE=" + request.machine(),
                       "RUM_KIND=" + request.kind(),
                       "RUM_BOOT_ID=" + BootId()};
  spawn.stdin_fd = lock;
  const auto child = Spawn(spawn);
  if (!child.ok()) return child.status();
  if (Reap(*child).well()) return absl::OkStatus();
  return absl::ResourceExhaustedError("the run's process could not be started");
}

absl::Status Scripts::Follow(const std::string& run_id, uint64_t offset, const Sink& sink,
                             const Gone& gone) {
  RunLogReader log(FolderOf(run_id), offset);
  agent::RunScriptEvent event;
  uint64_t seen = 0;
  for (bool over = false; !over;) {
    {
      std::unique_lock<std::mutex> guard(mutex_);
      const auto run = ledger_.Find(run_id);
      if (!run) return absl::NotFoundError(absl::StrCat("no run ", run_id));
      const auto live = live_.find(run_id);
      over = live == live_.end();
      if (over) *event.mutable_ended() = *run;
      if (!over) seen = live->second->changes;
    }
    if (!SendOutput(&log, sink)) return absl::OkStatus();
    if (over) break;
    std::unique_lock<std::mutex> guard(mutex_);
    while (!changed_.wait_for(guard, kLookUp, [&] {
      const auto live = live_.find(run_id);
      return live == live_.end() || live->second->changes != seen;
    })) {
      guard.unlock();
      if (gone() || !sink({})) return absl::OkStatus();
      guard.lock();
    }
  }
  event.set_offset(log.offset());
  sink(event);
  return absl::OkStatus();
}

absl::Status Scripts::Cancel(const std::string& run_id) {
  const std::lock_guard<std::mutex> guard(mutex_);
  const auto run = ledger_.Find(run_id);
  if (!run) return absl::NotFoundError(absl::StrCat("no run ", run_id));
  if (live_.count(run_id) == 0) return absl::OkStatus();
  const std::string folder = FolderOf(run_id);
  const int file = open((folder + "/cancel").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return absl::InternalError(absl::StrCat("cancel: ", std::strerror(errno)));
  close(file);
  const int keeper = KeeperOf(folder);
  if (keeper != 0) kill(keeper, SIGTERM);
  return absl::OkStatus();
}

absl::Status Scripts::SetBootScript(const agent::SetBootScriptRequest& request) {
  const std::lock_guard<std::mutex> guard(mutex_);
  const absl::Status status =
      WriteFileAtomically(folder_ + "/boot-script", request.SerializeAsString(), 0600);
  if (status.ok()) boot_script_ = request;
  return status.ok() ? SyncFolder(folder_) : status;
}

std::string Scripts::BootScriptHash() {
  const std::lock_guard<std::mutex> guard(mutex_);
  return boot_script_.content_hash();
}

absl::Status Scripts::RunBootScript() {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (boot_script_.script().empty()) return absl::OkStatus();
  const std::string boot = BootId();
  for (const agent::ScriptRun& run : ledger_.runs()) {
    if (run.kind() == kBootKind && run.boot_id() == boot) return absl::OkStatus();
  }
  agent::RunScriptRequest request;
  request.set_kind(kBootKind);
  request.set_script(boot_script_.script());
  request.set_content_hash(boot_script_.content_hash());
  request.set_machine(boot_script_.machine());
  request.set_timeout_s(boot_script_.timeout_s());
  request.set_run_id(absl::StrCat(kBootKind, "-", boot_script_.content_hash().substr(0, 12), "-",
                                  boot.substr(0, 8), "-agent"));
  return Start(request);
}

absl::Status Scripts::Keep(const std::string& kind,
                           const std::function<int(std::string* output)>& work) {
  agent::ScriptRun run;
  run.set_kind(kind);
  run.set_boot_id(BootId());
  run.set_started_ms(absl::ToUnixMillis(absl::Now()));
  run.set_run_id(absl::StrCat(kind, "-", run.boot_id().substr(0, 8), "-", run.started_ms()));
  const std::string folder = FolderOf(run.run_id());
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    PruneOutputs(folder_ + "/runs", ledger_.runs());
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (absl::Status status = ledger_.Put(run); !status.ok()) return status;
    live_[run.run_id()] = std::make_shared<Live>(Live{kind, 0});
  }
  std::string output;
  run.set_exit_status(work(&output));
  run.set_output_bytes(output.size());
  run.set_ended_ms(absl::ToUnixMillis(absl::Now()));
  const std::lock_guard<std::mutex> guard(mutex_);
  if (auto log = RunLogWriter::Open(folder); log.ok()) {
    (void)(*log)->Append({0, run.ended_ms(), run.exit_status() != 0, std::move(output)});
  }
  live_.erase(run.run_id());
  changed_.notify_all();
  (void)ledger_.PutEnd(run);  // the work is done, whatever the disk says
  return absl::OkStatus();
}

}  // namespace rum::guest
