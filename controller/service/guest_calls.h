#ifndef RUM_CONTROLLER_SERVICE_GUEST_CALLS_H_
#define RUM_CONTROLLER_SERVICE_GUEST_CALLS_H_

#include <grpcpp/grpcpp.h>

#include "controller/fleet/fleet.h"
#include "controller/service/control.grpc.pb.h"

// The calls of a client that work inside a guest: they pass the client's stream on to the agent's,
// and back, until both are over.
namespace rum {

using TunnelStream = grpc::ServerReaderWriter<control::ExecMessage, control::ExecMessage>;
using DialStream = grpc::ServerReaderWriter<control::DialMessage, control::DialMessage>;

grpc::Status ServeExec(Controller* controller, grpc::ServerContext* context, TunnelStream* stream);
grpc::Status ServeCopy(Controller* controller, TunnelStream* stream);
grpc::Status ServeSsh(Controller* controller, const control::MachineRequest& request,
                      control::SshReply* reply);
// Serves the host's end of a machine's console: works with a guest without an agent.
grpc::Status ServeConsole(Controller* controller, DialStream* stream);
grpc::Status ServeDial(Controller* controller, DialStream* stream);

}  // namespace rum

#endif  // RUM_CONTROLLER_SERVICE_GUEST_CALLS_H_
