#ifndef RUM_AGENT_API_GUEST_DRIVES_H_
#define RUM_AGENT_API_GUEST_DRIVES_H_

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent-api/agent.pb.h"
#include "agent-api/guest/mount_table.h"

namespace rum::guest {

// The serial of the disk under "/".
inline constexpr char kRootSerial[] = "rum.root";

// The device of the virtio disk with this serial, such as "/dev/vdb", found by sysfs and so without
// udev. NotFound: there is none.
absl::StatusOr<std::string> DeviceOf(const std::string& serial);

// A whole disk or one of its partitions, as sysfs has it.
struct BlockPart {
  std::string name;    // "vda1"
  std::string device;  // "254:1"
  int partition = 0;   // its number; 0: the whole disk
  uint64_t begin = 0;  // bytes
  uint64_t size = 0;
};

// The disk, then its partitions by where they begin. None: there is no such disk.
std::vector<BlockPart> PartsOf(const std::string& disk);

// What is mounted from a disk and would grow with it.
struct Ground {
  BlockPart part;
  MountEntry mount;
  uint64_t btrfs_device = 0;  // of the disk in a btrfs
  bool last = false;          // nothing of the disk lies behind it
};

// Returns, of several, the one at "/", else the one that lies last.
std::optional<Ground> GroundOf(const std::vector<BlockPart>& parts,
                               const std::vector<MountEntry>& mounts);

// What is told of the disk but for its serial; `leaving`: who uses it as well.
agent::DriveState LookAtDisk(const std::string& disk, bool leaving);

// Grows the partition and the filesystem of what is mounted from the disk; nothing is mounted: Ok.
// FailedPrecondition, Unimplemented: why it cannot.
absl::Status GrowOnDisk(const std::string& disk);

// The disks that rum gave the machine, the root's first. Starts no process.
std::vector<agent::DriveState> ObserveDrives(const std::set<std::string>& leaving);

// Makes each drive what its wish says; one state for each, in the same order.
std::vector<agent::DriveState> SetDrives(const std::vector<agent::DriveWish>& wishes);

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_DRIVES_H_
