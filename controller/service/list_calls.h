#ifndef RUM_CONTROLLER_SERVICE_LIST_CALLS_H_
#define RUM_CONTROLLER_SERVICE_LIST_CALLS_H_

#include <grpcpp/grpcpp.h>

#include "controller/fleet/fleet.h"
#include "controller/service/control.pb.h"

namespace rum {

// The calls about which machines there are and where their files are.
grpc::Status ServeList(Controller* controller, const control::ListMachinesRequest& request,
                       control::ListMachinesReply* reply);
grpc::Status ServeAdopt(Controller* controller, const control::AdoptRequest& request,
                        control::AdoptReply* reply);

}  // namespace rum

#endif  // RUM_CONTROLLER_SERVICE_LIST_CALLS_H_
