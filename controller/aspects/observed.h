#ifndef RUM_CONTROLLER_ASPECTS_OBSERVED_H_
#define RUM_CONTROLLER_ASPECTS_OBSERVED_H_

#include <optional>
#include <string>
#include <vector>

#include "agent-api/agent.pb.h"
#include "controller/hypervisor/hypervisor.h"
#include "controller/listeners/listener_set.h"

namespace rum {

// What is so now, everywhere a machine has parts.
struct Observed {
  DomainState domain;
  std::vector<ForwardState> forwards;
  std::optional<agent::Observation> guest;  // nullopt: no agent
  std::string guest_refused;                // why its agent's answer is not looked at
  bool agent_was_here = false;              // it answered before in this run of the domain
};

}  // namespace rum

#endif  // RUM_CONTROLLER_ASPECTS_OBSERVED_H_
