#include "controller/service/log_sender.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "controller/aspects/script_ledger.h"
#include "controller/base/utf8.h"
#include "state/schema.h"

namespace rum {
namespace {

using control::LogEvent;

absl::StatusOr<agent::ScriptRun> Pick(const std::vector<agent::ScriptRun>& runs,
                                      const control::LogRequest& request) {
  for (auto run = runs.rbegin(); run != runs.rend(); ++run) {
    if (!request.run_id().empty()) {
      if (run->run_id() == request.run_id()) return *run;
    } else if (!request.failed() || (IsOver(*run) && !Succeeded(*run))) {
      return *run;
    }
  }
  if (!request.run_id().empty()) {
    std::vector<std::string> ids;
    for (const agent::ScriptRun& run : runs) ids.push_back(run.run_id());
    return absl::NotFoundError(absl::StrCat("no run ", request.run_id(), " is kept",
                                            DidYouMean(request.run_id(), ids),
                                            "; `rum log --list` shows those that are"));
  }
  return absl::NotFoundError(request.failed() ? "no script has failed" : "no script has run yet");
}

// Turns output into events, and shows what is missing between two pieces.
class Sender {
 public:
  explicit Sender(const std::function<bool(const LogEvent&)>& write) : write_(write) {}

  bool Send(const agent::RunScriptEvent& piece) {
    LogEvent event;
    if (piece.has_ended()) {
      if (piece.ended().output_bytes() > at_ && !NotKept(piece.ended().output_bytes()))
        return false;
      *event.mutable_run() = piece.ended();
      return Write(&event);
    }
    const bool quiet = !piece.has_standard_output() && !piece.has_standard_error();
    if (!quiet && piece.offset() > at_ && !NotKept(piece.offset())) return false;
    event.set_time_ms(piece.time_ms());
    if (piece.has_standard_output()) event.set_standard_output(piece.standard_output());
    if (piece.has_standard_error()) event.set_standard_error(piece.standard_error());
    if (!quiet)
      at_ = piece.offset() + piece.standard_output().size() + piece.standard_error().size();
    return Write(&event);
  }

  bool Begin(const agent::ScriptRun& run) {
    LogEvent event;
    *event.mutable_run() = run;
    return Write(&event);
  }

 private:
  bool NotKept(uint64_t up_to) {
    LogEvent event;
    event.set_not_kept(up_to - std::exchange(at_, up_to));
    return Write(&event);
  }

  bool Write(LogEvent* event) const {
    MakeUtf8(event);
    return write_(*event);
  }

  const std::function<bool(const LogEvent&)>& write_;
  uint64_t at_ = 0;
};

}  // namespace

absl::Status SendLog(Controller* controller, const control::LogRequest& request,
                     const std::function<bool(const LogEvent&)>& write) {
  const auto machine = controller->FindMade(request.config_path());
  if (!machine.ok()) return machine.status();
  const absl::StatusOr<agent::ScriptRun> run = Pick((*machine)->archive().Runs(), request);
  if (!run.ok()) return run.status();
  Sender sender(write);
  if (!sender.Begin(*run)) return absl::OkStatus();
  return (*machine)->archive().Log(
      run->run_id(), request.follow(),
      [&](const agent::RunScriptEvent& event) { return sender.Send(event); });
}

}  // namespace rum
