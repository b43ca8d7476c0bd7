#ifndef RUM_TESTS_CONTROLLER_GUESTS_BY_PROCESS_H_
#define RUM_TESTS_CONTROLLER_GUESTS_BY_PROCESS_H_

#include <functional>
#include <memory>
#include <string>

#include "controller/guests/guest_process.h"

namespace rum {

// As ConnectGuestAgent(), but by a process, as the controller does. Who links this has a main that
// starts the zygote before anything else.
inline std::unique_ptr<GuestProcess> ConnectByProcess(ChannelOpener open,
                                                      std::function<void()> on_change = nullptr,
                                                      const std::string& program = "") {
  return std::make_unique<GuestProcess>("test", std::move(open), std::move(on_change), program);
}

}  // namespace rum

#endif  // RUM_TESTS_CONTROLLER_GUESTS_BY_PROCESS_H_
