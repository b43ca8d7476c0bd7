#ifndef RUM_CONTROLLER_RECONCILE_OBSERVE_H_
#define RUM_CONTROLLER_RECONCILE_OBSERVE_H_

#include "absl/status/statusor.h"
#include "agent-api/client/guest_agent.h"
#include "controller/decide/plan.h"

namespace rum {

// `status` with the word libvirt in front, where it does not begin with it.
absl::Status OfLibvirt(const absl::Status& status);

// Asks everything that can be asked now; changes nothing. `agent` and `listeners` may be null. An
// agent that does not answer gives no guest, which is a state and no error; a hypervisor that does
// not answer is one.
absl::StatusOr<Observed> Observe(const MachineIdentity& machine, Hypervisor& hypervisor,
                                 GuestAgent* agent, ListenerSet* listeners, const Config& desired,
                                 const MachineRecord& record);

}  // namespace rum

#endif  // RUM_CONTROLLER_RECONCILE_OBSERVE_H_
