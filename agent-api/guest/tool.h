#ifndef RUM_AGENT_API_GUEST_TOOL_H_
#define RUM_AGENT_API_GUEST_TOOL_H_

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace rum::guest {

// Runs a command of the guest; what it said is part of an error. Unimplemented: the guest has none.
absl::Status RunTool(const std::vector<std::string>& argv);

// Whether RunTool would find it.
bool HasTool(const std::string& name);

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_TOOL_H_
