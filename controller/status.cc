#include "controller/status.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "controller/conditions.h"
#include "controller/drift.h"
#include "controller/report.h"
#include "controller/standing.h"
#include "controller/trust.h"
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

}  // namespace

MachineStatus MakeStatus(const Config& desired, const MachineRecord& record,
                         const Observed& observed, int64_t now_ms, const std::string& config_error,
                         const std::vector<Ask>& asks) {
  MachineStatus status;
  Identify(desired, record, observed, &status);
  SetPhase(record, observed, now_ms, &status);
  status.set_config_error(config_error);
  Report report(desired, record, observed);
  const bool running = observed.domain.running;
  report.KnownBy(Item::LIBVIRT);
  ReportRun(now_ms, &report);
  report.KnownBy(Item::HOST);
  if (running) ReportPorts(&report);
  report.KnownBy(Item::GUEST);
  if (observed.guest.has_value()) ReportGuest(&report);
  report.KnownBy(Item::LIBVIRT);
  if (observed.domain.defined || running) ReportDomain(&report);
  report.KnownBy(Item::GUEST);
  if (observed.guest.has_value()) ReportScripts(&report);
  std::vector<Item> items = report.Take();
  for (const Ask& ask : asks) items.push_back(AskItem(ask));
  for (Item& item : items) {
    if (item.state() != Item::HOLDS) item.set_first_seen_ms(FirstSeen(item, record, now_ms));
    if (item.state() == Item::DRIFTED && IsFight(item.remedy(), record)) {
      item.set_given_up(true);
      item.set_text(absl::StrCat(item.text().substr(0, item.text().rfind(": ")),
                                 ": moved again after each of ", kMostRounds,
                                 " corrections, so rum leaves it; `rum apply` starts again"));
    }
    *status.add_items() = std::move(item);
  }
  SetConditions(record, now_ms, &status);
  return status;
}

void MarkFailures(const Failures& failures, const MachineRecord& record, int64_t now_ms,
                  MachineStatus* status) {
  for (Item& item : *status->mutable_items()) {
    if (item.state() == Item::HOLDS || item.remedy().empty()) continue;
    const auto error = failures.errors.find(item.remedy());
    if (error == failures.errors.end()) continue;
    if (item.state() != Item::FAILING) {
      item.set_state(Item::FAILING);
      item.set_text(
          absl::StrCat(item.text().substr(0, item.text().rfind(": ")), ": ", error->second));
    }
    item.set_next_try_ms(failures.next_try_ms);
  }
  SetConditions(record, now_ms, status);
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
