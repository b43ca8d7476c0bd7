#ifndef RUM_AGENT_API_GUEST_TOLD_H_
#define RUM_AGENT_API_GUEST_TOLD_H_

#include "agent-api/agent.pb.h"

namespace rum::guest {

// Makes `seen` an answer that a host takes in (agent-api/budget.h): of a list that is too long, or
// has entries that are, what `request` is about comes first, then cards with an address, then as
// much of the rest as goes; `cut` names the list. Pure.
void FitToBudget(const agent::ObserveRequest& request, agent::Observation* seen);

// The same for the reasons why volumes and drives are not as they should be, whose ends say that
// they were cut.
void FitToBudget(agent::SetStorageReply* reply);

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_TOLD_H_
