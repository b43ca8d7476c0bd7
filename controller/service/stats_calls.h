#ifndef RUM_CONTROLLER_SERVICE_STATS_CALLS_H_
#define RUM_CONTROLLER_SERVICE_STATS_CALLS_H_

#include <grpcpp/grpcpp.h>

#include "controller/fleet/fleet.h"
#include "controller/service/control.pb.h"

namespace rum {

// Answers what machines use of the host.
grpc::Status ServeStats(Controller* controller, const control::StatsRequest& request,
                        control::StatsReply* reply);

}  // namespace rum

#endif  // RUM_CONTROLLER_SERVICE_STATS_CALLS_H_
