#ifndef RUM_CONTROLLER_SERVICE_TRUST_CALLS_H_
#define RUM_CONTROLLER_SERVICE_TRUST_CALLS_H_

#include <grpcpp/grpcpp.h>

#include "controller/fleet/fleet.h"
#include "controller/service/control.pb.h"

namespace rum {

// Answers what a file asks of the host, after the user's word.
grpc::Status ServeTrust(Controller* controller, const control::TrustRequest& request,
                        control::TrustReply* reply);

}  // namespace rum

#endif  // RUM_CONTROLLER_SERVICE_TRUST_CALLS_H_
