#ifndef RUM_CLI_USER_SERVICE_H_
#define RUM_CLI_USER_SERVICE_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace rum {

// The controller as a service of systemd's user instance.

// Whether systemd started this process of ours as a service, and so is to replace it, too.
bool IsService(pid_t pid);

// Has systemd put a new process in the place of the one that runs; returns when it is ready.
absl::Status RestartService();

// What was done, a line each, for people.
using Steps = std::vector<std::string>;

// Makes it a service that starts with the user's session, and starts it, in the place of the
// controller that runs. Unit files are written where no package brought any; what others wrote
// there stays. Unavailable: this user has no systemd; nothing was done.
absl::StatusOr<Steps> EnableService();

// Takes that back: ends the controller, and removes unit files that are as we write them.
absl::StatusOr<Steps> DisableService();

}  // namespace rum

#endif  // RUM_CLI_USER_SERVICE_H_
