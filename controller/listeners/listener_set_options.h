#ifndef RUM_CONTROLLER_LISTENERS_LISTENER_SET_OPTIONS_H_
#define RUM_CONTROLLER_LISTENERS_LISTENER_SET_OPTIONS_H_

#include <chrono>
#include <memory>

#include "controller/listeners/listener_set.h"

namespace rum {

// Times of the listeners, so that tests need not wait for them.
struct ListenerSetOptions {
  std::chrono::milliseconds drain =
      std::chrono::seconds(30);  // for connections of a removed forward
  std::chrono::milliseconds patience = std::chrono::seconds(2);  // for an agent that is away
};

std::unique_ptr<ListenerSet> MakeListenerSet(Dialer dial, ListenerSetOptions options);

}  // namespace rum

#endif  // RUM_CONTROLLER_LISTENERS_LISTENER_SET_OPTIONS_H_
