#ifndef RUM_CONTROLLER_ASPECTS_SCRIPT_ACTION_H_
#define RUM_CONTROLLER_ASPECTS_SCRIPT_ACTION_H_

#include <string>

#include "controller/aspects/worlds.h"

namespace rum {

// Starts the script's run, or attaches to it, and follows it to its end, also when the session with
// the agent breaks meanwhile: what it writes goes to the host's copy, and from there on to who
// watches, each byte once. Aborted: the guest's ledger is not as the decision knew it any more.
absl::Status RunScript(const Action::RunScript& script, const Worlds& worlds, Deed* deed);

}  // namespace rum

#endif  // RUM_CONTROLLER_ASPECTS_SCRIPT_ACTION_H_
