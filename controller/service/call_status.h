#ifndef RUM_CONTROLLER_SERVICE_CALL_STATUS_H_
#define RUM_CONTROLLER_SERVICE_CALL_STATUS_H_

#include <grpcpp/grpcpp.h>

#include <string>

#include "absl/status/status.h"

namespace rum {

// How a call to the controller ended, as its client is told.
grpc::Status ToGrpc(const absl::Status& status);

// Returns whether, at the client of a call that it did not cancel, the controller went, so that
// nobody knows how the call ended. Not UNAVAILABLE as the controller's answer; CANCELLED is never
// one.
bool IsLost(const grpc::Status& status);

// What a user is told of a call that failed.
std::string WhyItFailed(const grpc::Status& status);

}  // namespace rum

#endif  // RUM_CONTROLLER_SERVICE_CALL_STATUS_H_
