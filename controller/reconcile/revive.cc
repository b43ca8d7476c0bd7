#include "controller/reconcile/revive.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent-api/steady_now.h"
#include "controller/aspects/standing.h"
#include "controller/decide/history.h"
#include "controller/decide/restart_policy.h"

namespace rum {
namespace {

void Tell(const ActionResult& result, const Standing& was, absl::Time now, const EventSink& sink,
          MachineRecord* record) {
  Event event;
  event.set_time_ms(absl::ToUnixMillis(now));
  event.set_kind(result.ok() ? Event::DONE : Event::FAILED);
  event.set_field("domain");
  event.set_before(PhaseName(was.phase));
  event.set_after("running");
  event.set_why(result.message());
  event.set_took_ms(result.duration_ms());
  AddEvent(std::move(event), record);
  if (sink.result) sink.result(result);
}

}  // namespace

Revival Revive(MachineLinks& links, StateStore& store, const Config& desired,
               const Observed& observed, const ApplyOptions& options, const EventSink& sink,
               MachineRecord* record) {
  Revival revival;
  const absl::Time now = options.now ? options.now() : absl::Now();
  const RestartVerdict verdict = JudgeRestart(desired, *record, observed.domain,
                                              options.controller_started, absl::ToUnixMillis(now));
  if (verdict.what == RestartVerdict::kWait) revival.next = absl::FromUnixMillis(verdict.due_ms);
  if (verdict.what != RestartVerdict::kStart) return revival;
  revival.tried = true;
  NoteRestart(verdict, absl::ToUnixMillis(now), record);
  revival.status = store.Save(*record);
  if (!revival.status.ok()) return revival;
  const absl::StatusOr<std::shared_ptr<Hypervisor>> hypervisor =
      links.hypervisor(UriOf(desired, *record));
  const absl::Time begin = SteadyNow();
  revival.status = hypervisor.ok() ? (*hypervisor)->Start(links.machine()) : hypervisor.status();
  const Standing was = StandingOf(observed);
  ActionResult result;
  result.mutable_action()->set_field("domain");
  result.mutable_action()->mutable_start_domain();
  result.set_ok(revival.status.ok());
  result.set_duration_ms(absl::ToInt64Milliseconds(SteadyNow() - begin));
  result.set_message(
      revival.status.ok()
          ? absl::StrCat("Started the machine again (", verdict.number, " of ", kMostRestarts,
                         "): ", was.reason.empty() ? "as reconcile.restart says" : was.reason)
          : absl::StrCat("start: ", std::string(revival.status.message())));
  Tell(result, was, now, sink, record);
  return revival;
}

}  // namespace rum
