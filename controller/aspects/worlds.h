#ifndef RUM_CONTROLLER_ASPECTS_WORLDS_H_
#define RUM_CONTROLLER_ASPECTS_WORLDS_H_

#include <functional>
#include <string>

#include "absl/time/time.h"
#include "agent-api/client/guest_agent.h"
#include "controller/aspects/aspect.h"

namespace rum {

class RunStore;

// What actions act on. `agent` and `listeners` may be null: actions that need them fail as
// unavailable.
struct Worlds {
  const MachineIdentity& machine;
  const Config& desired;
  const Observed& observed;  // before the action
  Hypervisor& hypervisor;
  GuestAgent* agent = nullptr;
  ListenerSet* listeners = nullptr;
  // May be empty; `error`: the script wrote it to standard error.
  std::function<void(const std::string& bytes, bool error)> script_output;
  Onlooker onlooker;
  RunStore* runs = nullptr;         // null: what scripts write is not kept
  std::function<bool()> cancelled;  // a script that is asked whether it goes on; may be empty
  std::function<bool()> stopping;   // nobody waits for a session any more; may be empty
  // How long a script's outcome is waited for when its guest is gone, as in a reboot.
  absl::Duration session_patience = absl::Seconds(30);
};

}  // namespace rum

#endif  // RUM_CONTROLLER_ASPECTS_WORLDS_H_
