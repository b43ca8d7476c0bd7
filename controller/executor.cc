#include "controller/executor.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent-api/steady_now.h"
#include "controller/script_action.h"
#include "controller/storage.h"
#include "state/names.h"

namespace rum {
namespace {

absl::Status WithContext(const std::string& context, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(context, ": ", std::string(status.message())));
}

std::string StartMessage(const DomainState& domain) {
  if (domain.cause == DomainCause::kSaved) return "Started the machine with its saved memory";
  if (!StandsStill(domain)) return "Started the machine";
  switch (domain.cause) {
    case DomainCause::kPanicked:
      return "Started the machine anew, as its kernel had given up";
    case DomainCause::kShuttingDown:
      return "Started the machine again";
    case DomainCause::kSuspended:
      return "Woke the machine";
    default:
      return "Went on with the paused machine";
  }
}

absl::Status Define(const Action::DefineDomain& define, const ActionTargets& targets,
                    std::string* message) {
  const DomainState& domain = targets.observed.domain;
  if (!domain.defined && !domain.running) {
    *message = "Made the machine's disks and definition";
  } else if (define.reset()) {
    *message = define.reset_drives() && define.drives_size() > 0
                   ? "Made a fresh disk, fresh drives and a new definition"
                   : "Made a fresh disk and a new definition";
  } else {
    *message = "Wrote the new definition for the next start";
  }
  const Fresh fresh = !define.reset()         ? Fresh::kNothing
                      : define.reset_drives() ? Fresh::kDiskAndDrives
                                              : Fresh::kDisk;
  return WithContext("definition", targets.hypervisor.Define(targets.machine, targets.desired,
                                                             fresh, targets.onlooker));
}

bool IsOneOf(const Forward& forward, const google::protobuf::RepeatedPtrField<Port>& ports) {
  return std::any_of(ports.begin(), ports.end(), [&](const Port& port) {
    return port.bind() == forward.bind && port.host() == forward.host &&
           port.guest() == forward.guest;
  });
}

Port ToPort(const Forward& forward) {
  Port port;
  port.set_bind(forward.bind);
  port.set_host(forward.host);
  port.set_guest(forward.guest);
  return port;
}

std::vector<std::string> Named(const google::protobuf::RepeatedPtrField<std::string>& keys) {
  std::vector<std::string> names;
  for (const std::string& key : keys) names.push_back(KeyName(key));
  return names;
}

// "Updated port forwards (added A, removed B)"; empty when nothing is in it.
std::string ListedMessage(const std::string& what, const std::vector<std::string>& added,
                          const std::vector<std::string>& removed) {
  std::vector<std::string> parts;
  if (!added.empty()) parts.push_back(absl::StrCat("added ", absl::StrJoin(added, ", ")));
  if (!removed.empty()) parts.push_back(absl::StrCat("removed ", absl::StrJoin(removed, ", ")));
  if (parts.empty()) return "";
  return absl::StrCat(what, " (", absl::StrJoin(parts, ", "), ")");
}

absl::Status SetForwards(const Action::SetForwards& set, const ActionTargets& targets,
                         std::string* message) {
  if (targets.listeners == nullptr) return absl::UnavailableError("ports: no listeners");
  std::vector<Forward> wanted;
  for (const Port& port : set.wanted()) {
    wanted.push_back(
        {port.bind(), static_cast<uint16_t>(port.host()), static_cast<uint16_t>(port.guest())});
  }
  std::vector<std::string> added, removed, failures;
  absl::StatusCode code = absl::StatusCode::kOk;
  for (const ForwardState& state : targets.listeners->Apply(wanted)) {
    if (!state.bound.ok()) {
      code = state.bound.code();
      failures.push_back(std::string(state.bound.message()));
    } else if (IsOneOf(state.forward, set.added())) {
      added.push_back(PortText(ToPort(state.forward)));
    }
  }
  for (const Port& port : set.removed()) removed.push_back(PortText(port));
  *message = ListedMessage("Updated port forwards", added, removed);
  if (failures.empty()) return absl::OkStatus();
  const std::string done = message->empty() ? "" : absl::StrCat(*message, "; ");
  return absl::Status(code, absl::StrCat(done, absl::StrJoin(failures, "; ")));
}

absl::Status SetHostname(const Action::SetHostname& set, const ActionTargets& targets,
                         std::string* message) {
  if (targets.agent == nullptr) return absl::UnavailableError("hostname: no agent");
  *message = set.before() == set.after()
                 ? absl::StrCat("Put hostname ", set.after(), " into /etc/hosts")
                 : absl::StrCat("Set hostname ", set.before(), " → ", set.after());
  return WithContext("hostname", targets.agent->SetHostname(set.after()));
}

absl::Status SetGroups(const Action::SetGroups& set, const ActionTargets& targets,
                       std::string* message) {
  if (targets.agent == nullptr) return absl::UnavailableError("groups: no agent");
  agent::SetGroupsRequest request;
  request.set_user(set.user());
  *request.mutable_add() = set.add();
  *request.mutable_remove() = set.remove();
  const std::string added = absl::StrJoin(set.add(), ", ");
  const std::string removed = absl::StrJoin(set.remove(), ", ");
  if (removed.empty()) {
    *message = absl::StrCat("Added ", set.user(), " to groups ", added);
  } else if (added.empty()) {
    *message = absl::StrCat("Removed ", set.user(), " from groups ", removed);
  } else {
    *message = absl::StrCat("Added ", set.user(), " to groups ", added, "; removed from ", removed);
  }
  return WithContext("groups", targets.agent->SetGroups(request));
}

absl::Status SetAuthorizedKeys(const Action::SetAuthorizedKeys& set, const ActionTargets& targets,
                               std::string* message) {
  if (targets.agent == nullptr) return absl::UnavailableError("authorized keys: no agent");
  agent::SetAuthorizedKeysRequest request;
  request.set_user(set.user());
  *request.mutable_add() = set.add();
  *request.mutable_remove() = set.remove();
  *message = ListedMessage("Updated authorized keys", Named(set.add()), Named(set.remove()));
  return WithContext("authorized keys", targets.agent->SetAuthorizedKeys(request));
}

absl::Status SetStorage(const Action::SetStorage& set, const ActionTargets& targets,
                        std::string* message) {
  if (targets.agent == nullptr) return absl::UnavailableError("storage: no agent");
  agent::SetStorageRequest request;
  *request.mutable_volumes() = set.volumes();
  const absl::StatusOr<agent::SetStorageReply> reply = targets.agent->SetStorage(request);
  if (!reply.ok()) return WithContext("storage", reply.status());
  const std::set<std::string> wanted(set.made().begin(), set.made().end());
  std::vector<std::string> made, failures;
  bool tool_missing = false;
  for (int i = 0; i < reply->volumes_size() && i < set.volumes_size(); ++i) {
    const agent::VolumeState& state = reply->volumes(i);
    if (!state.problem().empty()) {
      failures.push_back(absl::StrCat(FieldOf(set.volumes(i)), ": ", state.problem()));
      tool_missing = tool_missing || state.tool_missing();
    } else if (wanted.count(state.target()) > 0) {
      made.push_back(state.target());
    }
  }
  *message = ListedMessage("Updated mounts", made, {set.removed().begin(), set.removed().end()});
  if (failures.empty()) return absl::OkStatus();
  return absl::Status(
      tool_missing ? absl::StatusCode::kUnimplemented : absl::StatusCode::kFailedPrecondition,
      absl::StrCat(message->empty() ? "" : absl::StrCat(*message, "; "),
                   absl::StrJoin(failures, "; ")));
}

absl::Status ForgetBootScript(const ActionTargets& targets, std::string* message) {
  if (targets.agent == nullptr) return absl::UnavailableError("script: no agent");
  *message = "Took the boot provisioning script back";
  return WithContext("boot script", targets.agent->SetBootScript({}));
}

}  // namespace

Execution Execute(const Action& action, const ActionTargets& targets) {
  Execution execution;
  ActionResult& result = execution.result;
  *result.mutable_action() = action;
  std::string message;
  const absl::Time begin = SteadyNow();
  switch (action.kind_case()) {
    case Action::kDefineDomain:
      execution.status = Define(action.define_domain(), targets, &message);
      break;
    case Action::kStartDomain:
      message = StartMessage(targets.observed.domain);
      execution.status = WithContext("start", targets.hypervisor.Start(targets.machine));
      break;
    case Action::kSetForwards:
      execution.status = SetForwards(action.set_forwards(), targets, &message);
      break;
    case Action::kSetHostname:
      execution.status = SetHostname(action.set_hostname(), targets, &message);
      break;
    case Action::kSetGroups:
      execution.status = SetGroups(action.set_groups(), targets, &message);
      break;
    case Action::kSetAuthorizedKeys:
      execution.status = SetAuthorizedKeys(action.set_authorized_keys(), targets, &message);
      break;
    case Action::kSetStorage:
      execution.status = SetStorage(action.set_storage(), targets, &message);
      break;
    case Action::kRunScript:
      execution.status = RunScript(action.run_script(), targets, &message, &execution);
      break;
    case Action::kForgetBootScript:
      execution.status = ForgetBootScript(targets, &message);
      break;
    case Action::KIND_NOT_SET:
      execution.status = absl::InvalidArgumentError("an action without a kind");
      break;
  }
  result.set_duration_ms(absl::ToInt64Milliseconds(SteadyNow() - begin));
  result.set_ok(execution.status.ok());
  result.set_message(execution.status.ok() ? message : std::string(execution.status.message()));
  result.set_needs_new_file(absl::IsInvalidArgument(execution.status) ||
                            absl::IsFailedPrecondition(execution.status));
  return execution;
}

}  // namespace rum
