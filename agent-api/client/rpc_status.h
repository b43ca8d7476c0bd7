#ifndef RUM_AGENT_API_CLIENT_RPC_STATUS_H_
#define RUM_AGENT_API_CLIENT_RPC_STATUS_H_

#include <grpcpp/grpcpp.h>

#include "absl/status/status.h"

namespace rum {

// What a call to the agent came to, in words for people: the agent's own, or in place of gRPC's,
// which are of its inside.
absl::Status ToAbsl(const grpc::Status& status);

}  // namespace rum

#endif  // RUM_AGENT_API_CLIENT_RPC_STATUS_H_
