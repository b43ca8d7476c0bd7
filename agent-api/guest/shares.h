#ifndef RUM_AGENT_API_GUEST_SHARES_H_
#define RUM_AGENT_API_GUEST_SHARES_H_

#include <set>
#include <string>
#include <vector>

#include "agent-api/agent.pb.h"
#include "agent-api/guest/mount_table.h"

namespace rum::guest {

// What a folder of the host's is mounted as.
const std::set<std::string>& ShareTypes();

// The mounts of a shared folder, also those that rum did not make.
std::vector<MountEntry> MountsOfShare(const std::vector<MountEntry>& mounts, const std::string& tag,
                                      const std::set<std::string>& types = ShareTypes());

// Whether the kernel has a filesystem, or a module of it that is not loaded yet. Starts no process.
bool KernelHas(const std::string& filesystem);

// What is told of shared folders, and of those that are to go who uses them. Starts no process.
agent::Shares ObserveShares(const std::vector<std::string>& leaving,
                            const std::set<std::string>& types = ShareTypes());

// Takes what is mounted of folders that the machine lost out of the tree. Whoever is in there keeps
// an error for each thing that he tries: nothing can be written any more, so that nothing is lost.
void DropLostShares(const std::vector<std::string>& tags,
                    const std::set<std::string>& types = ShareTypes());

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_SHARES_H_
