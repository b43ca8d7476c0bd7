#ifndef RUM_CONTROLLER_GUESTS_OUTLET_H_
#define RUM_CONTROLLER_GUESTS_OUTLET_H_

#include <mutex>

#include "controller/guests/frames.h"
#include "controller/guests/guests.pb.h"

namespace rum {

// Says to the controller what a guest's process has to say. Thread-safe; waits until the controller
// has room for it.
class Outlet {
 public:
  explicit Outlet(int socket) : socket_(socket) {}

  void Say(const guests::FromProcess& message) {
    const std::lock_guard<std::mutex> guard(mutex_);
    writer_.Add(message);
    // A controller that is gone is seen by the one who listens to it.
    writer_.Flush(socket_);
  }

 private:
  const int socket_;
  std::mutex mutex_;
  FrameWriter writer_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_GUESTS_OUTLET_H_
