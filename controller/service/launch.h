#ifndef RUM_CONTROLLER_SERVICE_LAUNCH_H_
#define RUM_CONTROLLER_SERVICE_LAUNCH_H_

#include <string>
#include <vector>

#include "absl/status/status.h"

// What a client knows of the controller's process. The controller itself is another program,
// rum-controller, because of what it is linked with: libvirt brings a hundred shared libraries, and
// loading them would take longer than all the rest of a command.
namespace rum {

inline constexpr char kVersion[] = "0.1.0";
inline constexpr char kReleased[] = "2026-11-30";  // the day of that version, for its manual

// What a controller says to who started it, when another one has the lock.
inline constexpr char kTaken[] = "taken\n";

// The unix socket of the user's controller. Its path may be too long for a socket (107 bytes); then
// binding says so.
std::string ControllerSocketPath();

// Starts `rum controller run` (this executable) in the background, detached from this terminal, and
// waits until it answers or says why it cannot. `replace`: in the place of the one that runs, if
// one does; nobody who connects meanwhile is refused.
absl::Status StartController(bool replace = false);

// Lists where rum-controller is looked for: beside this executable, in ../lib/rum, where the build
// puts it.
std::vector<std::string> ControllerPlaces();

// Becomes rum-controller, the first one that is there;
// `ready_fd` (or -1) and `replace` as in RunController. Returns only if it cannot.
absl::Status ExecController(int ready_fd, bool replace);

// Units for systemd's user instance: the service, which runs `program` (empty: this executable),
// and its socket, with which it is started by whoever needs it.
inline constexpr char kServiceUnit[] = "rum.service";
inline constexpr char kSocketUnit[] = "rum.socket";
std::string ControllerUnit(const std::string& program = "");
std::string ControllerSocketUnit();

}  // namespace rum

#endif  // RUM_CONTROLLER_SERVICE_LAUNCH_H_
