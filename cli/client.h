#ifndef RUM_CLI_CLIENT_H_
#define RUM_CLI_CLIENT_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "controller/base/fd.h"
#include "controller/service/control.grpc.pb.h"

namespace rum {

// The user's controller. With `start` one that does not run is started, and one of another version,
// or whose program is not on the disk any more, is replaced; without, Unavailable says that there
// is none, and DeadlineExceeded that it does not answer. PermissionDenied: what stands in its place
// is not this user's (own_socket.h).
absl::StatusOr<std::unique_ptr<control::Control::Stub>> ConnectController(bool start);

// Puts a new controller in the place of the one that runs, if one does: by systemd, where that
// started it. Nobody who connects meanwhile is refused.
absl::Status ReplaceController();

// Asks the controller to end and waits until its process is gone.
absl::Status StopController(std::unique_ptr<control::Control::Stub> stub);

// Ends the process of a controller that does not answer, as a crash would. Records are right at any
// moment, and machines go on.
absl::Status EndSilentController();

// Blocks until no other client is putting a new controller in the place of an old one, and keeps
// the others from it for as long as the result lives: two at once would end the new controller too,
// with what it does for whoever came first. Not ok, with nothing locked: there is no such folder.
Fd LockReplacing();

}  // namespace rum

#endif  // RUM_CLI_CLIENT_H_
