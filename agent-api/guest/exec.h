#ifndef RUM_AGENT_API_GUEST_EXEC_H_
#define RUM_AGENT_API_GUEST_EXEC_H_

#include <functional>

#include "absl/status/status.h"
#include "agent-api/agent.pb.h"

namespace rum::guest {

// Runs one command. `read` blocks for the next message of the host, false: no more, or the host is
// gone; it is called on a thread of its own. `write` sends one, false: the host is gone.
// `cancelled` tells which. A command whose host is gone is ended with its process group.
absl::Status Exec(const std::function<bool(agent::ExecInput*)>& read,
                  const std::function<bool(const agent::ExecOutput&)>& write,
                  const std::function<bool()>& cancelled);

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_EXEC_H_
