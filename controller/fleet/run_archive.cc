#include "controller/fleet/run_archive.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "agent-api/run_log/run_log.h"
#include "controller/aspects/script_ledger.h"

namespace rum {
namespace {

// Passes on what the log has; false: nobody wants more.
bool Drain(RunLogReader* log, const RunArchive::LogSink& sink) {
  OutputPiece piece;
  while (log->Next(&piece)) {
    agent::RunScriptEvent event;
    event.set_offset(piece.offset);
    event.set_time_ms(piece.time_ms);
    *(piece.error ? event.mutable_standard_error() : event.mutable_standard_output()) =
        std::move(piece.bytes);
    if (!sink(event)) return false;
  }
  return true;
}

// The two messages are one on the wire.
RunArchive::RunList RunsOf(const MachineRecord& record) {
  RunArchive::RunList runs;
  for (const ScriptRun& run : record.runs()) runs.Add()->ParseFromString(run.SerializeAsString());
  return runs;
}

}  // namespace

// The last ones of each kind; those that go on are whoever's who follows them.
void RunArchive::Collect(const RunList& runs) {
  RunStore* const store = links_->runs();
  const std::shared_ptr<GuestAgent> agent = links_->agent();
  if (store == nullptr || agent == nullptr) return;
  const std::string& id = links_->machine().id;
  store->Order(id, runs);
  std::map<std::string, size_t> of_kind;
  for (int i = runs.size() - 1; i >= 0; --i) {
    const agent::ScriptRun& run = runs[i];
    if (++of_kind[run.kind()] > RunStore::kMostRuns) continue;
    if (store->Whole(id, run.run_id())) continue;
    store->Note(id, run);
    if (!IsOver(run)) continue;
    agent::FollowRunRequest request;
    request.set_run_id(run.run_id());
    request.set_offset(store->End(id, run.run_id()));
    const absl::StatusOr<agent::ScriptRun> ended =
        agent->FollowRun(request, [&](const agent::RunScriptEvent& event) {
          store->Take(id, run.run_id(), event);
          return !links_->stopping();
        });
    if (!ended.ok()) continue;  // the next look fetches the rest
    agent::RunScriptEvent event;
    *event.mutable_ended() = *ended;
    store->Take(id, run.run_id(), event);
  }
}

void RunArchive::Collect(const MachineRecord& record) { Collect(RunsOf(record)); }

std::vector<agent::ScriptRun> RunArchive::Runs() {
  RunStore* const store = links_->runs();
  if (store == nullptr) return {};
  const Wanted wanted = file_->Read();
  if (wanted.blocked.empty()) {
    const absl::StatusOr<Observed> observed =
        links_->Look(wanted.config, record_->Get(), absl::ZeroDuration());
    if (observed.ok() && observed->guest.has_value()) {
      Collect(observed->guest->runs());
    } else {
      store->Order(links_->machine().id, RunsOf(record_->Get()));
    }
  }
  return store->Runs(links_->machine().id);
}

absl::Status RunArchive::Log(const std::string& run_id, bool follow, const LogSink& sink) {
  RunStore* const store = links_->runs();
  if (store == nullptr) return absl::NotFoundError("nothing is kept");
  const std::string& id = links_->machine().id;
  RunLogReader log(store->FolderOf(id, run_id), 0);
  if (!Drain(&log, sink)) return absl::OkStatus();
  while (follow && !store->Whole(id, run_id) && !links_->stopping()) {
    const std::shared_ptr<GuestAgent> agent = links_->agent();
    if (agent == nullptr) break;
    agent::FollowRunRequest request;
    request.set_run_id(run_id);
    request.set_offset(store->End(id, run_id));
    bool wanted = true;
    const absl::StatusOr<agent::ScriptRun> ended =
        agent->FollowRun(request, [&](const agent::RunScriptEvent& event) {
          store->Take(id, run_id, event);
          const bool quiet = !event.has_standard_output() && !event.has_standard_error();
          wanted = Drain(&log, sink) && (!quiet || sink(event)) && !links_->stopping();
          return wanted;
        });
    if (!wanted) return absl::OkStatus();
    if (ended.ok()) {
      agent::RunScriptEvent event;
      *event.mutable_ended() = *ended;
      store->Take(id, run_id, event);
      break;  // also where not all of it could be kept
    } else if (!agent->WaitConnected(absl::Seconds(1)).ok() && !sink({})) {
      return absl::OkStatus();
    }
  }
  if (!Drain(&log, sink)) return absl::OkStatus();
  for (const agent::ScriptRun& run : store->Runs(id)) {
    if (run.run_id() != run_id) continue;
    agent::RunScriptEvent event;
    *event.mutable_ended() = run;
    event.set_offset(log.offset());
    sink(event);
  }
  return absl::OkStatus();
}

std::vector<agent::ScriptRun> RunArchive::Cancel() {
  std::vector<agent::ScriptRun> told;
  const std::shared_ptr<GuestAgent> agent = links_->agent();
  for (const agent::ScriptRun& run : Runs()) {
    if (IsOver(run) || agent == nullptr) continue;
    if (agent->CancelRun(run.run_id()).ok()) told.push_back(run);
  }
  return told;
}

}  // namespace rum
