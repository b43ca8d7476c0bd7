#ifndef RUM_AGENT_API_CHANNEL_HOST_LINK_H_
#define RUM_AGENT_API_CHANNEL_HOST_LINK_H_

#include <chrono>
#include <functional>

#include "agent-api/channel/session_pace.h"

namespace rum {

// A guest that is gone, with its kernel perhaps, says nothing; one that is there may have nothing
// to say, so that it is asked.
struct Keepalive {
  // Whether anybody waits for the guest: nobody minds its silence else. nullptr: never.
  std::function<bool()> waiting;
  std::chrono::milliseconds silence{15000};  // after which it is asked
  std::chrono::milliseconds answer{30000};   // without which the session is over
};

// What sessions carry. kHttp2: what no agent sends ends the session (Http2Gate).
enum class Payload { kAny, kHttp2 };

// The host's end of one connection to the channel: begins sessions and keeps them until the
// connection is of no more use, then returns. Each session is a connected non-blocking socket given
// to `on_session`; `on_end` is called when it is over. `channel` is a connected socket that stays
// the caller's; `wake` readable ends it. Returns true when at least one session came about. `pace`
// is told of sessions and asked for the next: where that may not begin now, or the guest says more
// about sessions than any agent does, the connection is over, and the caller waits with another.
bool ServeHostLink(int channel, int wake, const std::function<void(int socket)>& on_session,
                   const std::function<void()>& on_end, const Keepalive& keepalive,
                   SessionPace* pace, Payload payload = Payload::kAny);

}  // namespace rum

#endif  // RUM_AGENT_API_CHANNEL_HOST_LINK_H_
