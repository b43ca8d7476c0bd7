#include "agent-api/protocol.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "absl/strings/str_split.h"

namespace rum {
namespace {

std::vector<int> Numbers(const std::string& version) {
  std::vector<int> numbers;
  for (const auto& part : absl::StrSplit(version, '.'))
    numbers.push_back(std::atoi(std::string(part).c_str()));
  return numbers;
}

}  // namespace

AgentFit FitOf(const AgentBuild& agent, const AgentBuild& own) {
  const bool known = !own.build_id.empty();
  if (known && agent.build_id == own.build_id) return AgentFit::kSame;
  const std::vector<int> theirs = Numbers(agent.version);
  const std::vector<int> ours = Numbers(own.version);
  const bool newer =
      agent.protocol > own.protocol || (agent.protocol == own.protocol && theirs > ours);
  if (newer) {
    return std::max(agent.oldest_protocol, 1u) <= own.protocol ? AgentFit::kUse : AgentFit::kRefuse;
  }
  constexpr uint32_t kHasUpgrade = 2;
  if (known && agent.protocol >= kHasUpgrade) return AgentFit::kReplace;
  return agent.protocol >= kOldestAgent ? AgentFit::kUse : AgentFit::kRefuse;
}

}  // namespace rum
