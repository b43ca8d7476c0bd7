#ifndef RUM_CONTROLLER_PLAN_H_
#define RUM_CONTROLLER_PLAN_H_

#include <optional>
#include <vector>

#include "agent-api/agent.pb.h"
#include "controller/hypervisor/hypervisor.h"
#include "controller/listeners/listener_set.h"
#include "controller/plan.pb.h"
#include "state/record.pb.h"

namespace rum {

// What is so now, everywhere a machine has parts.
struct Observed {
  DomainState domain;
  std::vector<ForwardState> forwards;
  std::optional<agent::Observation> guest;  // nullopt: no agent
};

struct PlanOptions {
  bool force_system_script = false;  // --force
  bool start = false;                // up: define and start what is not
  bool reset = false;                // up --reset
};

// Decides. Pure: equal arguments give an equal plan; a converged machine gives an empty one. `record.applied` is what rum
// may take away again. Guest actions are planned from `observed.guest`; without an agent there are none, and after a start
// the reconciler observes and plans again.
Plan MakePlan(const Config& desired, const MachineRecord& record, const Observed& observed,
              const PlanOptions& options);

// The drift report of the same three states.
MachineStatus MakeStatus(const Config& desired, const MachineRecord& record, const Observed& observed);

}  // namespace rum

#endif  // RUM_CONTROLLER_PLAN_H_
