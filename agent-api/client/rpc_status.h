#ifndef RUM_AGENT_API_CLIENT_RPC_STATUS_H_
#define RUM_AGENT_API_CLIENT_RPC_STATUS_H_

#include <grpcpp/grpcpp.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace rum {

// What a call to the agent came to.
inline absl::Status ToAbsl(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                      absl::StrCat("agent: ", status.error_message()));
}

}  // namespace rum

#endif  // RUM_AGENT_API_CLIENT_RPC_STATUS_H_
