#ifndef RUM_CONTROLLER_SERVICE_SERVER_H_
#define RUM_CONTROLLER_SERVICE_SERVER_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent-api/steady_now.h"
#include "controller/base/fd.h"
#include "controller/fleet/fleet.h"

namespace rum {

// Answers the CLI for a Controller over a unix socket of mode 0600. Only processes of this user are
// heard: the kernel's word for who connected (SO_PEERCRED, unix(7)), not only the file's mode,
// decides.
class ControlServer {
 public:
  // `on_stop`: a client asked the controller to stop; or, for `idle_limit` by the clock `now`,
  // there was no connection and no machine to look after. Then nobody can connect any more.
  // `controller` outlives the server.
  static absl::StatusOr<std::unique_ptr<ControlServer>> Listen(
      const std::string& path, Controller* controller, std::function<void()> on_stop,
      absl::Duration idle_limit = absl::InfiniteDuration(),
      std::function<absl::Time()> now = SteadyNow);
  // Lets nobody in any more, for a successor, and leaves the socket, and whoever waits in it, open.
  Fd GiveUpListening();
  // Calls that are under way get a moment to end, then they are cancelled.
  ~ControlServer();

 private:
  struct Parts;
  explicit ControlServer(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_SERVICE_SERVER_H_
