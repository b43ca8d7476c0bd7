#ifndef RUM_CONTROLLER_EXECUTOR_H_
#define RUM_CONTROLLER_EXECUTOR_H_

#include <functional>
#include <string>

#include "agent-api/client/guest_agent.h"
#include "controller/plan.h"

namespace rum {

// What actions act on. `agent` and `listeners` may be null: actions that need them fail as
// unavailable.
struct ActionTargets {
  const MachineIdentity& machine;
  const Config& desired;
  const Observed& observed;  // before the action
  Hypervisor& hypervisor;
  GuestAgent* agent = nullptr;
  ListenerSet* listeners = nullptr;
  std::function<void(const std::string&)> script_output;  // may be empty
  Onlooker onlooker;
};

struct Execution {
  ActionResult result;
  absl::Status status;  // its code decides retry
};

// Makes the state true that `action` names. Doing it twice does no more than once.
Execution Execute(const Action& action, const ActionTargets& targets);

}  // namespace rum

#endif  // RUM_CONTROLLER_EXECUTOR_H_
