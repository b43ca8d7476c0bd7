#ifndef RUM_CONTROLLER_SERVICE_WATCH_STREAM_H_
#define RUM_CONTROLLER_SERVICE_WATCH_STREAM_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/sync_stream.h>

#include "absl/status/status.h"
#include "controller/fleet/fleet.h"
#include "controller/service/control.pb.h"

namespace rum {

// Answers a Watch until the client has gone or the controller stops.
absl::Status ServeWatch(Controller* controller, const control::WatchRequest& request,
                        grpc::ServerContext* context,
                        grpc::ServerWriter<control::WatchEvent>* writer);

}  // namespace rum

#endif  // RUM_CONTROLLER_SERVICE_WATCH_STREAM_H_
