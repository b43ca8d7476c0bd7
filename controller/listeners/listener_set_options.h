#ifndef RUM_CONTROLLER_LISTENERS_LISTENER_SET_OPTIONS_H_
#define RUM_CONTROLLER_LISTENERS_LISTENER_SET_OPTIONS_H_

#include <chrono>
#include <cstddef>
#include <memory>

#include "controller/listeners/listener_set.h"

namespace rum {

// Times of the listeners, so that tests need not wait for them.
struct ListenerSetOptions {
  // For connections of a removed forward.
  std::chrono::milliseconds drain = std::chrono::seconds(30);
  // For an agent that is away.
  std::chrono::milliseconds patience = std::chrono::seconds(2);
  // For an agent that is there but does not answer.
  std::chrono::milliseconds answer = std::chrono::seconds(10);
  // Between looks whether a port that somebody holds is free.
  std::chrono::milliseconds retry = std::chrono::milliseconds(500);
  // Connections of one machine at a time; of a process with few descriptors a quarter of those.
  size_t most_connections = 4096;
};

std::unique_ptr<ListenerSet> MakeListenerSet(GuestRoute route, ListenerSetOptions options);
std::unique_ptr<ListenerSet> MakeListenerSet(Dialer dial, ListenerSetOptions options);

}  // namespace rum

#endif  // RUM_CONTROLLER_LISTENERS_LISTENER_SET_OPTIONS_H_
