#ifndef RUM_CONTROLLER_SERVICE_OWN_SOCKET_H_
#define RUM_CONTROLLER_SERVICE_OWN_SOCKET_H_

#include <string>

#include "absl/status/status.h"

// Knows whose a socket of the controller's is. Client, controller and its successor ask here, and
// trust nobody but the same user: not root, and root nobody else. PermissionDenied says what is not
// ours and what to do; NotFound: there is no such thing (yet).
namespace rum {

// The folder of the sockets may be used, or made where it stands: neither it nor what it stands in
// is another user's (`sudo -E` brings the $XDG_RUNTIME_DIR of whoever called it).
absl::Status JudgeSocketFolder(const std::string& folder);

// Nobody else can have put this socket there: it and its folder are ours, no links, and others
// cannot write in the folder.
absl::Status JudgeSocket(const std::string& path);

// The process at the other end of `fd`, a connected unix socket, is ours.
absl::Status JudgePeer(int fd, const std::string& path);

}  // namespace rum

#endif  // RUM_CONTROLLER_SERVICE_OWN_SOCKET_H_
