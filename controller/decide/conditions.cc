#include "controller/decide/conditions.h"

#include <set>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "agent-api/first_line.h"
#include "controller/base/utf8.h"

namespace rum {
namespace {

struct Answer {
  Condition::Status status = Condition::TRUE;
  std::string reason;
  std::string message;
};

// Of the items that `wanted` picks, their fields, each once.
template <typename Wanted>
std::string Fields(const MachineStatus& status, const Wanted& wanted) {
  std::vector<std::string> fields;
  std::set<std::string> known;
  for (const Item& item : status.items()) {
    if (wanted(item) && known.insert(item.field()).second) fields.push_back(item.field());
  }
  return absl::StrJoin(fields, ", ");
}

Answer ConfigValid(const MachineStatus& status) {
  if (status.config_error().empty()) return {Condition::TRUE, "Valid", ""};
  return {Condition::FALSE, "ConfigInvalid", FirstLine(status.config_error())};
}

std::string Why(const MachineStatus& status, const std::string& what) {
  return status.phase_reason().empty() ? what : what + ": " + status.phase_reason();
}

Answer AgentConnected(const MachineStatus& status) {
  if (!status.error().empty())
    return {Condition::UNKNOWN, "NotObserved", FirstLine(status.error())};
  switch (status.phase()) {
    case MachineStatus::STOPPED:
      return {Condition::FALSE, "Stopped", Why(status, "the machine is off")};
    case MachineStatus::PAUSED:
      return {Condition::FALSE, "Paused", Why(status, "the machine is paused")};
    case MachineStatus::CRASHED:
      return {Condition::FALSE, "Crashed", Why(status, "the machine crashed")};
    case MachineStatus::SAVED:
      return {Condition::FALSE, "Saved", Why(status, "the machine is saved")};
    case MachineStatus::PANICKED:
      return {Condition::FALSE, "Panicked", Why(status, "the guest panicked")};
    case MachineStatus::SHUTTING_DOWN:
      return {Condition::FALSE, "ShuttingDown", Why(status, "the machine is shutting down")};
    case MachineStatus::SUSPENDED:
      return {Condition::FALSE, "Suspended", Why(status, "the machine is suspended")};
    case MachineStatus::STARTING:
      return {Condition::FALSE, "Starting", "the agent has not answered yet"};
    case MachineStatus::UNREACHABLE:
      return {Condition::FALSE, "Unreachable", FirstLine(status.phase_reason())};
    case MachineStatus::RUNNING:
      return {Condition::TRUE, "Connected", ""};
    default:
      return {Condition::FALSE, "NotDefined", "there is no machine"};
  }
}

Answer RestartRequired(const MachineStatus& status) {
  if (!status.error().empty())
    return {Condition::UNKNOWN, "NotObserved", FirstLine(status.error())};
  const std::string fields =
      Fields(status, [](const Item& item) { return item.state() == Item::NEEDS_RESTART; });
  if (fields.empty()) return {Condition::FALSE, "NothingWaits", ""};
  return {Condition::TRUE, "FieldsWait", fields};
}

bool IsScript(const Item& item) { return absl::StartsWith(item.field(), "provision."); }

Answer Provisioned(const MachineStatus& status) {
  const Answer agent = AgentConnected(status);
  if (agent.status != Condition::TRUE) return {Condition::UNKNOWN, agent.reason, agent.message};
  for (const Item& item : status.items()) {
    if (!IsScript(item) || item.state() == Item::HOLDS || item.state() == Item::OPT_IN) continue;
    if (item.state() == Item::FAILING) {
      return {Condition::FALSE, "ScriptFailed", item.field() + " " + item.observed()};
    }
    if (item.observed() == "running") return {Condition::FALSE, "ScriptRuns", item.field()};
    return {Condition::FALSE, "ScriptHasNotRun", item.field()};
  }
  return {Condition::TRUE, "ScriptsRan", ""};
}

Answer Synced(const MachineStatus& status) {
  if (const Answer config = ConfigValid(status); config.status != Condition::TRUE) return config;
  const Answer agent = AgentConnected(status);
  if (agent.status != Condition::TRUE) return agent;
  // What needs the user first.
  static constexpr struct {
    Item::State state;
    const char* reason;
  } kReasons[] = {{Item::FAILING, "Failing"},
                  {Item::NEEDS_CONSENT, "ConsentRequired"},
                  {Item::NEEDS_RECREATE, "RecreateRequired"},
                  {Item::NEEDS_RESTART, "RestartRequired"},
                  {Item::OPT_IN, "OptIn"},
                  {Item::DRIFTED, "Drifted"},
                  {Item::PENDING, "Pending"}};
  for (const auto& entry : kReasons) {
    const std::string fields =
        Fields(status, [&](const Item& item) { return item.state() == entry.state; });
    if (!fields.empty()) return {Condition::FALSE, entry.reason, fields};
  }
  if (status.applied_generation() != status.generation()) {
    return {Condition::FALSE, "Pending", "this generation was not applied yet"};
  }
  return {Condition::TRUE, "InSync", ""};
}

Answer Ready(const MachineStatus& status) {
  for (const Answer& needed : {AgentConnected(status), Provisioned(status)}) {
    if (needed.status != Condition::TRUE) return needed;
  }
  const std::string ports = Fields(status, [](const Item& item) {
    // One that is withheld is not to be open.
    return item.state() != Item::HOLDS && item.state() != Item::NEEDS_CONSENT &&
           absl::StartsWith(item.field(), "ports");
  });
  if (!ports.empty()) return {Condition::FALSE, "PortsNotOpen", ports};
  return {Condition::TRUE, "Usable", ""};
}

}  // namespace

void SetConditions(const MachineRecord& record, int64_t now_ms, MachineStatus* status) {
  status->clear_conditions();
  for (const auto& [type, judge] :
       {std::pair{"Ready", &Ready}, std::pair{"Synced", &Synced},
        std::pair{"RestartRequired", &RestartRequired},
        std::pair{"AgentConnected", &AgentConnected}, std::pair{"ConfigValid", &ConfigValid},
        std::pair{"Provisioned", &Provisioned}}) {
    const Answer answer = judge(*status);
    Condition* condition = status->add_conditions();
    condition->set_type(type);
    condition->set_status(answer.status);
    condition->set_reason(answer.reason);
    condition->set_message(answer.message);
    MakeUtf8(condition);  // libvirt's words may be anything, and a record is JSON
    condition->set_last_transition_ms(now_ms);
    condition->set_observed_generation(status->generation());
    for (const Condition& before : record.conditions()) {
      if (before.type() == type && before.status() == answer.status) {
        condition->set_last_transition_ms(before.last_transition_ms());
      }
    }
  }
}

const Condition* FindCondition(const MachineStatus& status, const std::string& type) {
  for (const Condition& condition : status.conditions()) {
    if (condition.type() == type) return &condition;
  }
  return nullptr;
}

}  // namespace rum
