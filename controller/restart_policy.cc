#include "controller/restart_policy.h"

#include <algorithm>
#include <string>

#include "controller/standing.h"

namespace rum {
namespace {

// By so much clocks are corrected all the time.
constexpr int64_t kClockSlackMs = 60 * 1000;

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
  const bool healthy = ended_ms - record.last_restart_ms() >= kHealthyMs;
  verdict.number = healthy ? 1 : record.restarts() + 1;
  if (verdict.number > kMostRestarts) {
    verdict.what = RestartVerdict::kGivenUp;
    return verdict;
  }
  // Of a start that failed the ending before it is the one that is noted.
  const int64_t begin_ms = std::max(ended_ms, record.last_restart_ms());
  const int64_t pause_ms = kFirstPauseMs << (verdict.number - 1);
  // Of a time to come nobody knows how long ago it was: the host's clock was set back meanwhile.
  verdict.due_ms = begin_ms > now_ms + kClockSlackMs ? now_ms : begin_ms + pause_ms;
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
