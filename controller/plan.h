#ifndef RUM_CONTROLLER_PLAN_H_
#define RUM_CONTROLLER_PLAN_H_

#include <optional>
#include <string>
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
  std::string guest_refused;                // why its agent's answer is not looked at
  bool agent_was_here = false;              // it answered before in this run of the domain
};

struct PlanOptions {
  bool force_system_script = false;  // --force
  bool rerun_system = false;         // whatever the ledger says: rum provision
  bool rerun_boot = false;
  bool start = false;         // up: define and start what is not
  bool reset = false;         // up --reset
  bool reset_drives = false;  // up --reset --drives
  // Run a script again that failed, and go on with a fight (see drift.h); the background loop does
  // neither.
  bool retry_failed = true;
};

// Decides. Pure: equal arguments give an equal plan; a converged machine gives an empty one.
// `record.applied` is what rum may take away again. Guest actions are planned from
// `observed.guest`; without an agent there are none, and after a start the reconciler observes and
// plans again.
Plan MakePlan(const Config& desired, const MachineRecord& record, const Observed& observed,
              const PlanOptions& options);

// The user whose groups are meant: the one that the domain's disk was made with.
std::string UserInGuest(const Config& desired, const DomainState& domain);

// The drives that a machine has, by both of its definitions, sorted.
std::vector<std::string> DriveNames(const DomainState& domain);

// "3000→3000", with the address in front where it is not 127.0.0.1.
std::string PortText(const Port& port);

}  // namespace rum

#endif  // RUM_CONTROLLER_PLAN_H_
