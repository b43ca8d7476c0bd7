#ifndef RUM_CONTROLLER_SERVICE_CONTROL_SERVICE_H_
#define RUM_CONTROLLER_SERVICE_CONTROL_SERVICE_H_

#include <functional>
#include <memory>

#include "controller/fleet/fleet.h"
#include "controller/service/control.grpc.pb.h"

namespace rum {

// Answers each call by asking a Controller.
class ControlService : public control::Control::Service {
 public:
  // Returns true while no call is under way and there is no machine to look after.
  virtual bool Idle() const = 0;
};

// `on_stop`: a client asked the controller to stop. `controller` outlives the service.
std::unique_ptr<ControlService> MakeControlService(Controller* controller,
                                                   std::function<void()> on_stop);

}  // namespace rum

#endif  // RUM_CONTROLLER_SERVICE_CONTROL_SERVICE_H_
