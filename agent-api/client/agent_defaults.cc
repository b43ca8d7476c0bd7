#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "agent-api/client/guest_agent.h"

namespace rum {

std::function<absl::StatusOr<agent::Observation>()> GuestAgent::BeginObserve(
    const agent::ObserveRequest& request) {
  return [this, request] { return Observe(request); };
}

// NOLINTNEXTLINE(performance-unnecessary-value-param): others keep it
void GuestAgent::DialOn(uint16_t, int socket, std::function<void(absl::Status)> done) {
  close(socket);
  done(absl::UnimplementedError("an agent that dials on no given socket"));
}

absl::Status MayCopy(const agent::CopyStart& start, uint32_t protocol) {
  if (!start.resume() || protocol >= 3) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the agent in the guest is of an older rum (protocol ", protocol,
                   ") and cannot resume a copy: copy without --resume, or restart the machine, "
                   "which brings it this rum's"));
}

// The session broke: whoever blocks in next_input learns it as the end of the command.
void TellLost(const std::function<void(const agent::ExecOutput&)>& output) {
  agent::ExecOutput lost;
  lost.set_standard_error("rum: the connection to the agent was lost\n");
  output(lost);
  lost.set_exit_status(255);
  output(lost);
}

void TellLost(const std::function<void(const agent::CopyMessage&)>& output) {
  agent::CopyMessage lost;
  lost.mutable_end()->set_error("the connection to the agent was lost");
  output(lost);
}

}  // namespace rum
