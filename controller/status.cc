#include "controller/status.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "controller/conditions.h"
#include "controller/drift.h"
#include "controller/report.h"
#include "google/protobuf/util/message_differencer.h"

namespace rum {
namespace {

MachineStatus::Phase PhaseOf(const Observed& observed) {
  if (observed.domain.running) {
    if (observed.guest.has_value()) return MachineStatus::RUNNING;
    return observed.agent_was_here ? MachineStatus::UNREACHABLE : MachineStatus::STARTING;
  }
  return observed.domain.defined ? MachineStatus::STOPPED : MachineStatus::NOT_DEFINED;
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
  status->set_phase(PhaseOf(observed));
}

}  // namespace

MachineStatus MakeStatus(const Config& desired, const MachineRecord& record,
                         const Observed& observed, int64_t now_ms,
                         const std::string& config_error) {
  MachineStatus status;
  Identify(desired, record, observed, &status);
  status.set_config_error(config_error);
  Report report(desired, record, observed);
  const bool running = observed.domain.running;
  if (running) ReportPorts(&report);
  if (observed.guest.has_value()) ReportGuest(&report);
  if (observed.domain.defined || running) ReportDomain(&report);
  if (observed.guest.has_value()) ReportScripts(&report);
  for (Item& item : report.Take()) {
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
