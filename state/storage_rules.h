#ifndef RUM_STATE_STORAGE_RULES_H_
#define RUM_STATE_STORAGE_RULES_H_

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "state/config.pb.h"

namespace rum {

// What drives and filesystems can be made of, as mkfs and zpool in the guest take them.

constexpr uint64_t kLeastDrive = uint64_t{1} << 20;
constexpr uint64_t kLeastRootDisk = uint64_t{64} << 20;
constexpr uint64_t kMostBytes = uint64_t{2} << 50;  // as much as qcow2 holds

const std::set<std::string>& OneDriveTypes();
// How several drives become one, as mkfs.btrfs(8) and zpoolconcepts(7) name it; a zfs stripe has no
// word there.
const std::vector<std::string>& ModesOf(const std::string& type);
// The fewest drives that a mode is made of; 1 for a type or a mode that asks for no more.
int LeastDrives(const std::string& type, const std::string& mode);
// The smallest drive on which the type's mkfs makes a filesystem of that mode.
uint64_t LeastDriveOf(const std::string& type, const std::string& mode, int drives);

// The name of a zfs's pool, for who gave none made from the target: "/my/data" is "rum-my-data".
std::string PoolOf(const Fs& fs);

}  // namespace rum

#endif  // RUM_STATE_STORAGE_RULES_H_
