#ifndef RUM_CONTROLLER_SERVICE_PROCESS_H_
#define RUM_CONTROLLER_SERVICE_PROCESS_H_

#include <string>

#include "absl/status/status.h"

namespace rum {

// Is the controller: serves until SIGTERM, SIGINT or a client's Stop, and ends within two seconds
// of that. `ready_fd` (or -1) gets "ok\n" once the socket is listened on, or the text of what went
// wrong; a controller with a `ready_fd` was started by itself, and ends by itself after a minute
// (or $RUM_CONTROLLER_IDLE_S) without machines and calls. AlreadyExists: another controller of
// this user runs. `replace`: that
// one ends, and its listening sockets, with those who wait in them, are this one's (handover.h).
absl::Status RunController(int ready_fd, bool replace);

// The static agent that machines get: $RUM_AGENT, else `rum-agent` beside this executable or in
// ../lib/rum, else where the build puts it. Empty: not found.
std::string FindAgentBinary();

}  // namespace rum

#endif  // RUM_CONTROLLER_SERVICE_PROCESS_H_
