#ifndef RUM_AGENT_API_CHANNEL_HOST_LINK_H_
#define RUM_AGENT_API_CHANNEL_HOST_LINK_H_

#include <functional>

namespace rum {

// The host's end of one connection to the channel: begins sessions and keeps them until the
// connection is of no more use, then returns. Each session is a connected non-blocking socket given
// to `on_session`; `on_end` is called when it is over. `channel` is a connected socket that stays
// the caller's; `wake` readable ends it. Returns true when at least one session came about.
bool ServeHostLink(int channel, int wake, const std::function<void(int socket)>& on_session,
                   const std::function<void()>& on_end);

}  // namespace rum

#endif  // RUM_AGENT_API_CHANNEL_HOST_LINK_H_
