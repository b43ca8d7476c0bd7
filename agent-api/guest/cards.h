#ifndef RUM_AGENT_API_GUEST_CARDS_H_
#define RUM_AGENT_API_GUEST_CARDS_H_

#include <vector>

#include "agent-api/agent.pb.h"

namespace rum::guest {

// The guest's network cards but for loopback, by name, with the addresses by which others reach
// them.
std::vector<agent::Card> Cards();

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_CARDS_H_
