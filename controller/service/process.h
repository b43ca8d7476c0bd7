#ifndef RUM_CONTROLLER_SERVICE_PROCESS_H_
#define RUM_CONTROLLER_SERVICE_PROCESS_H_

#include <string>

#include "absl/status/status.h"

namespace rum {

// Is the controller: serves until SIGTERM, SIGINT or a client's Stop. `ready_fd` (or -1) gets
// "ok\n" once the socket is listened on, or the text of what went wrong. FailedPrecondition:
// another controller of this user runs.
absl::Status RunController(int ready_fd);

// Starts `rum controller run` (this executable) in the background, detached from this terminal, and
// waits until it answers or says why it cannot.
absl::Status StartController();

// The static agent that machines get: $RUM_AGENT, else `rum-agent` beside this executable or in
// ../lib/rum, else in the build's runfiles. Empty: not found.
std::string FindAgentBinary();

}  // namespace rum

#endif  // RUM_CONTROLLER_SERVICE_PROCESS_H_
