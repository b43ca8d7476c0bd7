#ifndef RUM_AGENT_API_GUEST_MOUNT_PLACE_H_
#define RUM_AGENT_API_GUEST_MOUNT_PLACE_H_

#include <string>
#include <vector>

#include "agent-api/guest/mount_table.h"

namespace rum::guest {

// Whether `path` is `folder` or in it; both without links and dots.
bool IsIn(const std::string& path, const std::string& folder);

// What of the guest would be out of sight with something mounted at `target`, that it or its agent
// cannot be without; empty: nothing.
std::string HiddenBy(const std::string& target);

// The mounts below `target`, the innermost first.
std::vector<MountEntry> MountsBelow(const std::vector<MountEntry>& mounts,
                                    const std::string& target);

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_MOUNT_PLACE_H_
