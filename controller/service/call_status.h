#ifndef RUM_CONTROLLER_SERVICE_CALL_STATUS_H_
#define RUM_CONTROLLER_SERVICE_CALL_STATUS_H_

#include <grpcpp/grpcpp.h>

#include <string>

#include "absl/status/status.h"

namespace rum {

// How a call to the controller ended, as its client is told.
grpc::Status ToGrpc(const absl::Status& status);

// At the client: the connection broke, and so nobody knows how the call ended. gRPC's own
// UNAVAILABLE is meant, not one that the controller gave as its answer.
bool IsLost(const grpc::Status& status);

// What a user is told of a call that failed.
std::string WhyItFailed(const grpc::Status& status);

}  // namespace rum

#endif  // RUM_CONTROLLER_SERVICE_CALL_STATUS_H_
