#ifndef RUM_CONTROLLER_SERVICE_LOG_SENDER_H_
#define RUM_CONTROLLER_SERVICE_LOG_SENDER_H_

#include <functional>

#include "absl/status/status.h"
#include "controller/fleet/fleet.h"
#include "controller/service/control.pb.h"

namespace rum {

// Answers `rum log`: picks the run, and gives `write` its output between what is known of it before
// and after. NotFound: there is no such run. `write` returns false when the client is gone.
absl::Status SendLog(Controller* controller, const control::LogRequest& request,
                     const std::function<bool(const control::LogEvent&)>& write);

}  // namespace rum

#endif  // RUM_CONTROLLER_SERVICE_LOG_SENDER_H_
