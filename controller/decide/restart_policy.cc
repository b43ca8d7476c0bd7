#include "controller/decide/restart_policy.h"

#include <algorithm>
#include <string>

#include "controller/aspects/standing.h"

namespace rum {
namespace {

bool Crashed(const MachineRecord& record, DomainCause cause) {
  // Why a first start failed was said to whoever asked for it.
  if (cause == DomainCause::kStartFailed) return record.restarts() > 0;
  return cause == DomainCause::kCrashed || cause == DomainCause::kPanicked;
}

bool EndedForAlways(DomainCause cause, bool controller_started) {
  switch (cause) {
    case DomainCause::kNone:
    case DomainCause::kShutDown:
    case DomainCause::kDestroyed:
    case DomainCause::kStartFailed:
      return true;
    case DomainCause::kSaved:  // as the host's shutdown does with its guests
      return controller_started;
    default:
      return false;  // somebody has plans with it
  }
}

bool IsWanted(const Config& desired, const MachineRecord& record, const DomainState& domain,
              bool controller_started) {
  const std::string& policy = desired.reconcile().restart();
  if (!record.want_running() || !domain.defined || policy == "never") return false;
  const bool panicked = domain.running && domain.cause == DomainCause::kPanicked;
  if (domain.running && !panicked) return false;
  if (Crashed(record, domain.cause)) return true;
  return policy == "always" && EndedForAlways(domain.cause, controller_started);
}

}  // namespace

RestartVerdict JudgeRestart(const Config& desired, const MachineRecord& record,
                            const DomainState& domain, bool controller_started, int64_t now_ms) {
  RestartVerdict verdict;
  if (!IsWanted(desired, record, domain, controller_started)) return verdict;
  Observed observed;
  observed.domain = domain;
  const bool noted = record.phase() == MachineStatus::Phase_Name(StandingOf(observed).phase);
  const int64_t ended_ms = noted ? record.phase_since_ms() : now_ms;
  // A time that is to come was noted by a clock that was put back since, and tells nothing.
  const auto is_known = [now_ms](int64_t ms) { return ms - now_ms <= kLongestPauseMs; };
  const bool healthy = is_known(ended_ms) && ended_ms - record.last_restart_ms() >= kHealthyMs;
  verdict.number = healthy ? 1 : record.restarts() + 1;
  if (verdict.number > kMostRestarts) {
    verdict.what = RestartVerdict::kGivenUp;
    return verdict;
  }
  // Of a start that failed the ending before it is the one that is noted.
  int64_t last_ms = 0;
  for (const int64_t ms : {ended_ms, record.last_restart_ms()}) {
    if (is_known(ms)) last_ms = std::max(last_ms, ms);
  }
  verdict.due_ms = last_ms + (kFirstPauseMs << (verdict.number - 1));
  verdict.what = now_ms < verdict.due_ms ? RestartVerdict::kWait : RestartVerdict::kStart;
  return verdict;
}

void NoteRestart(const RestartVerdict& verdict, int64_t now_ms, MachineRecord* record) {
  record->set_restarts(verdict.number);
  record->set_last_restart_ms(now_ms);
}

bool ForgetRestarts(MachineRecord* record) {
  const bool any = record->restarts() > 0 || record->last_restart_ms() > 0;
  record->clear_restarts();
  record->clear_last_restart_ms();
  return any;
}

}  // namespace rum
