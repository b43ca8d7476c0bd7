#ifndef RUM_AGENT_API_CHANNEL_GUEST_LINK_H_
#define RUM_AGENT_API_CHANNEL_GUEST_LINK_H_

#include <functional>
#include <string>

namespace rum {

// The guest's end of the channel: gives `on_session` a connected non-blocking socket for every
// session that a host begins; a new session ends the one before it. Runs until the port is gone
// (returns an error's text) or `wake` becomes readable (returns ""). `port` is a non-blocking
// descriptor that stays the caller's.
std::string ServeGuestLink(int port, int wake, const std::function<void(int socket)>& on_session);

// Before the process ends: ends the session at the host's end at once, and not only when the next
// agent speaks. From any thread.
void EndSessionAtHost(int port);

}  // namespace rum

#endif  // RUM_AGENT_API_CHANNEL_GUEST_LINK_H_
