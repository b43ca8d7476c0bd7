#ifndef RUM_CONTROLLER_ASPECTS_RESOURCES_H_
#define RUM_CONTROLLER_ASPECTS_RESOURCES_H_

#include "absl/status/status.h"
#include "controller/aspects/aspect.h"

namespace rum {

// What the aspects of vCPUs and of memory share.

// Of an agent that tells neither and can set neither.
inline constexpr char kAgentSetsNoResources[] =
    "the agent in the guest is of an older rum, which cannot change it";

// What the guest uses; null: it does not answer, or its agent cannot tell.
const agent::Resources* ResourcesInGuest(const Scene& scene);
// Whether an agent answers that cannot.
bool IsOldAgent(const Scene& scene);

// The definition for the next start, which comes first: what is killed after it differs in what
// runs alone, and the next round sees that.
absl::Status WriteDefinition(const Worlds& worlds);

}  // namespace rum

#endif  // RUM_CONTROLLER_ASPECTS_RESOURCES_H_
