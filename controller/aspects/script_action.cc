#include "controller/aspects/script_action.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "agent-api/steady_now.h"
#include "controller/aspects/run_store.h"
#include "controller/aspects/script_ledger.h"
#include "controller/aspects/standing.h"

namespace rum {
namespace {

constexpr size_t kTailBytes = 4096;
constexpr absl::Duration kSessionPause = absl::Milliseconds(50);
constexpr absl::Duration kSessionSlice = absl::Seconds(1);

// Hears one run, in as many sessions as it takes.
class RunListener {
 public:
  RunListener(const Action::RunScript& script, const Worlds& worlds)
      : worlds_(worlds), id_(worlds.machine.id) {
    request_.set_kind(script.kind());
    request_.set_run_id(script.run_id());
    request_.set_script(script.script());
    request_.set_content_hash(script.content_hash());
    request_.set_machine(worlds.machine.name);
    request_.set_timeout_s(script.timeout_s());
    request_.set_last_run_id(script.last_run_id());
    if (worlds.runs != nullptr) request_.set_offset(worlds.runs->End(id_, script.run_id()));
  }

  absl::StatusOr<agent::ScriptRun> Run() {
    for (;;) {
      absl::StatusOr<agent::ScriptRun> run = worlds_.agent->RunScript(
          request_, [this](const agent::RunScriptEvent& event) { Hear(event); });
      if (run.ok()) {
        agent::RunScriptEvent ended;
        *ended.mutable_ended() = *run;
        if (worlds_.runs != nullptr) worlds_.runs->Take(id_, request_.run_id(), ended);
        return run;
      }
      if (!SessionBroke(run.status())) return run;
      if (absl::Status back = AwaitSession(); !back.ok()) return back;
    }
  }

  const std::string& tail() const { return tail_; }

 private:
  void Hear(const agent::RunScriptEvent& event) {
    heard_ = true;
    if (worlds_.cancelled && worlds_.cancelled() && !cancel_asked_) {
      cancel_asked_ = worlds_.agent->CancelRun(request_.run_id()).ok();
    }
    const bool error = event.has_standard_error();
    const std::string& bytes = error ? event.standard_error() : event.standard_output();
    if (bytes.empty()) return;
    if (worlds_.runs != nullptr) worlds_.runs->Take(id_, request_.run_id(), event);
    request_.set_offset(event.offset() + bytes.size());
    tail_ += bytes;
    if (tail_.size() > kTailBytes) tail_.erase(0, tail_.size() - kTailBytes);
    if (worlds_.script_output) worlds_.script_output(bytes, error);
  }

  static bool SessionBroke(const absl::Status& status) {
    return absl::IsUnavailable(status) || absl::IsCancelled(status) || absl::IsUnknown(status);
  }

  // The run goes on without it, or its guest goes down in the middle of it.
  absl::Status AwaitSession() {
    const absl::Time now = SteadyNow();
    if (heard_) lost_ = now;
    heard_ = false;
    if (std::exchange(told_, true) == false && worlds_.onlooker.say) {
      worlds_.onlooker.say("waiting for the guest, to which the connection was lost");
    }
    // A session that breaks at once is not to be asked in a spin.
    absl::SleepFor(std::min(kSessionPause, worlds_.session_patience));
    while (SteadyNow() - lost_ < worlds_.session_patience) {
      if (worlds_.stopping && worlds_.stopping()) break;
      if (worlds_.agent->WaitConnected(kSessionSlice).ok()) return absl::OkStatus();
      const absl::StatusOr<DomainState> domain = worlds_.hypervisor.Inspect(worlds_.machine);
      if (domain.ok() && !domain->running) {
        Observed observed;
        observed.domain = *domain;
        return absl::UnavailableError(
            absl::StrCat("in the middle of it the machine went off: ",
                         StandingText(worlds_.machine.name, StandingOf(observed))));
      }
    }
    return absl::UnavailableError(absl::StrCat(
        "in the middle of it the connection to the agent in the guest was lost, and did not come "
        "back within ",
        absl::FormatDuration(worlds_.session_patience), "; `rum log` shows what it wrote"));
  }

  const Worlds& worlds_;
  const std::string id_;
  agent::RunScriptRequest request_;
  std::string tail_;
  bool cancel_asked_ = false;
  bool heard_ = true;  // since the last session broke
  bool told_ = false;
  absl::Time lost_;  // when the last session broke that was one
};

}  // namespace

absl::Status RunScript(const Action::RunScript& script, const Worlds& worlds, Deed* deed) {
  if (worlds.agent == nullptr) return absl::UnavailableError("script: no agent");
  const absl::Time begin = SteadyNow();
  RunListener listener(script, worlds);
  const absl::StatusOr<agent::ScriptRun> run = listener.Run();
  if (!run.ok()) {
    return absl::Status(
        run.status().code(),
        absl::StrCat(script.kind(), " script: ", std::string(run.status().message())));
  }
  deed->message =
      absl::StrFormat("%s %s provisioning script (%.1f s)", script.rerun() ? "Re-ran" : "Ran",
                      script.kind(), absl::ToDoubleSeconds(SteadyNow() - begin));
  if (Succeeded(*run)) return absl::OkStatus();
  // The outcome is the script's, not the call's: a status of 1 is a failed action.
  deed->output_tail = listener.tail();
  deed->interrupted = run->ending() == agent::ScriptRun::INTERRUPTED;
  return absl::InternalError(
      absl::StrCat(script.kind(), " provisioning script ", FailureText(*run)));
}

}  // namespace rum
