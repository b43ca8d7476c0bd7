#ifndef RUM_CONTROLLER_ASPECTS_STORAGE_H_
#define RUM_CONTROLLER_ASPECTS_STORAGE_H_

#include <string>
#include <vector>

#include "agent-api/agent.pb.h"
#include "controller/hypervisor/hypervisor.h"

namespace rum {

// What the guest of the running domain mounts, by target: [[fs.*]] and [[mounts]] of its live
// definition.
std::vector<agent::Volume> VolumesOf(const DomainState& domain);

// "fs.ext4[/data]" or "mounts[/src]", as a change of that part of the file is named.
std::string FieldOf(const agent::Volume& volume);

}  // namespace rum

#endif  // RUM_CONTROLLER_ASPECTS_STORAGE_H_
