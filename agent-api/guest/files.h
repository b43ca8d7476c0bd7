#ifndef RUM_AGENT_API_GUEST_FILES_H_
#define RUM_AGENT_API_GUEST_FILES_H_

#include <functional>

#include "agent-api/agent.pb.h"

namespace rum::guest {

// The guest's end of a copy, down to its `end`. `read` blocks for the next message of the host,
// false: no more, or the host is gone; `write` sends one, false: the host is gone. What is made
// belongs to the owner of what it replaces, else to that of its folder.
void Copy(const std::function<bool(agent::CopyMessage*)>& read,
          const std::function<bool(const agent::CopyMessage&)>& write);

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_FILES_H_
