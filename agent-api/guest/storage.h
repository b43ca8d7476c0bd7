#ifndef RUM_AGENT_API_GUEST_STORAGE_H_
#define RUM_AGENT_API_GUEST_STORAGE_H_

#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent-api/agent.pb.h"

namespace rum::guest {

// Makes drives blank again on which a filesystem was being made when the guest died; at the start
// of the agent, before anybody can ask for anything.
void BlankUnfinishedDrives();

// Returns a state for each volume, in the same order. One that should have the home of `user` and
// has not does not hold. Starts no process.
std::vector<agent::VolumeState> ObserveStorage(const std::vector<agent::Volume>& volumes,
                                               const std::string& user);

// Targets in rum's part of /etc/fstab that are none of `volumes`.
std::vector<std::string> StaleTargets(const std::vector<agent::Volume>& volumes);

// Formats what is blank, mounts what is not mounted, and writes /etc/fstab. One that fails does not
// stop the others. Homes that a mount puts out of sight, and that of `user`, are made on it. An
// earlier volume that is in use stays mounted, with who uses it in `stale_problem`. `arriving`:
// tags of shared folders that the guest may not know yet.
absl::StatusOr<std::vector<agent::VolumeState>> SetStorage(
    const std::vector<agent::Volume>& volumes, const std::string& user,
    const std::set<std::string>& arriving, std::string* stale_problem);

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_STORAGE_H_
