#include "controller/decide/status.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "controller/aspects/standing.h"
#include "controller/decide/conditions.h"
#include "controller/decide/drift.h"
#include "controller/decide/restart_policy.h"
#include "controller/decide/trust.h"
#include "google/protobuf/util/message_differencer.h"

namespace rum {
namespace {

// The time is of the first sight, which only the record knows; while the loop looks after the
// machine, what it does not know yet is new.
void SetPhase(const MachineRecord& record, const Observed& observed, int64_t now_ms,
              MachineStatus* status) {
  const Standing standing = StandingOf(observed);
  status->set_phase(standing.phase);
  status->set_phase_reason(standing.reason);
  status->set_phase_remedy(standing.remedy);
  if (record.phase() == MachineStatus::Phase_Name(standing.phase)) {
    status->set_phase_since_ms(record.phase_since_ms());
  } else if (record.want_running()) {
    status->set_phase_since_ms(now_ms);
  }
  status->set_restarts(record.restarts());
}

void Identify(const Config& desired, const MachineRecord& record, const Observed& observed,
              MachineStatus* status) {
  status->set_id(record.id());
  status->set_name(record.name());
  status->set_config_path(record.config_path());
  const bool moved = !google::protobuf::util::MessageDifferencer::Equals(desired, record.desired());
  // The number that the next apply gives to a file that nobody applied yet.
  status->set_generation(record.generation() + (moved ? 1 : 0));
  status->set_applied_generation(record.applied_generation());
  status->set_applied_ms(record.applied_ms());
  status->set_agent_connected(observed.guest.has_value());
}

// Of a machine that is wanted up and went by itself. One that somebody ended is as he wants it; the
// phase says so.
std::optional<Finding> FindRun(const Config& desired, const MachineRecord& record,
                               const Observed& observed, int64_t now_ms) {
  if (!record.want_running()) return std::nullopt;
  const Standing standing = StandingOf(observed);
  const bool panicked = standing.phase == MachineStatus::PANICKED;
  const bool fell = panicked || standing.phase == MachineStatus::CRASHED;
  const RestartVerdict verdict = JudgeRestart(desired, record, observed.domain, false, now_ms);
  if (!fell && verdict.what == RestartVerdict::kNothing) return std::nullopt;
  const std::string was = PhaseName(standing.phase);
  Finding finding;
  finding.what = standing.reason.empty() ? was : standing.reason;
  finding.outlook = standing.remedy;
  Item& item = finding.item;
  item.set_field(kRunItem);
  item.set_state(Item::FAILING);
  item.set_moved_by(panicked ? Item::GUEST : Item::LIBVIRT);
  item.set_known_by(Item::LIBVIRT);
  item.set_observed(was);
  item.set_wanted("running");
  if (verdict.what == RestartVerdict::kGivenUp) {
    absl::StrAppend(&finding.what, ", as after each of ", kMostRestarts,
                    " starts, so rum leaves it");
    item.set_given_up(true);
  } else if (verdict.what != RestartVerdict::kNothing) {
    item.set_state(Item::DRIFTED);
    item.set_next_try_ms(verdict.due_ms);
    finding.outlook =
        absl::StrCat("will be started again (", verdict.number, " of ", kMostRestarts, ")");
  }
  return finding;
}

Item ItemOf(const Finding& finding, const Failures& failures, const MachineRecord& record,
            int64_t now_ms) {
  Item item = finding.item;
  std::string outlook = finding.outlook;
  if (item.state() != Item::HOLDS) item.set_first_seen_ms(FirstSeen(item, record, now_ms));
  if (item.state() == Item::DRIFTED && IsFight(item.remedy(), record)) {
    item.set_given_up(true);
    outlook = absl::StrCat("moved again after each of ", kMostRounds,
                           " corrections, so rum leaves it; `rum apply` starts again");
  }
  const auto error = failures.errors.find(item.remedy());
  if (item.state() != Item::HOLDS && !item.remedy().empty() && error != failures.errors.end()) {
    if (item.state() != Item::FAILING) outlook = error->second;
    item.set_state(Item::FAILING);
    item.set_next_try_ms(failures.next_try_ms);
  }
  item.set_text(outlook.empty() ? finding.what : absl::StrCat(finding.what, ": ", outlook));
  return item;
}

}  // namespace

MachineStatus MakeStatus(const Config& desired, const MachineRecord& record,
                         const Observed& observed, const Judgement& judgement, int64_t now_ms,
                         const std::string& config_error, const std::vector<Ask>& asks,
                         const Failures& failures) {
  MachineStatus status;
  Identify(desired, record, observed, &status);
  SetPhase(record, observed, now_ms, &status);
  status.set_config_error(config_error);
  if (const auto run = FindRun(desired, record, observed, now_ms); run.has_value()) {
    *status.add_items() = ItemOf(*run, failures, record, now_ms);
  }
  for (const Verdict& verdict : judgement.verdicts) {
    for (const Finding& finding : verdict.findings) {
      *status.add_items() = ItemOf(finding, failures, record, now_ms);
    }
  }
  for (const Ask& ask : asks) {
    Item item = AskItem(ask);
    item.set_first_seen_ms(FirstSeen(item, record, now_ms));
    *status.add_items() = std::move(item);
  }
  SetConditions(record, now_ms, &status);
  return status;
}

MachineStatus MakeStatus(const Config& desired, const MachineRecord& record,
                         const Observed& observed, int64_t now_ms, const std::string& config_error,
                         const std::vector<Ask>& asks, const Failures& failures) {
  return MakeStatus(desired, record, observed, Judge(desired, record, observed, PlanOptions()),
                    now_ms, config_error, asks, failures);
}

bool SameReport(const MachineStatus& a, const MachineStatus& b) {
  const auto essence = [](MachineStatus status) {
    // Times follow from the rest; where no record keeps them they are those of each look.
    for (Condition& condition : *status.mutable_conditions()) condition.clear_last_transition_ms();
    status.clear_phase_since_ms();
    for (Item& item : *status.mutable_items()) {
      item.clear_first_seen_ms();
      if (item.state() != Item::HOLDS) continue;
      Item bare;
      bare.set_field(item.field());
      if (item.has_forward()) {
        bare.mutable_forward()->set_health(item.forward().health());
      } else {
        bare.set_text(item.text());
      }
      item = bare;
    }
    return status.SerializeAsString();
  };
  return essence(a) == essence(b);
}

}  // namespace rum
