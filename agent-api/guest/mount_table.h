#ifndef RUM_AGENT_API_GUEST_MOUNT_TABLE_H_
#define RUM_AGENT_API_GUEST_MOUNT_TABLE_H_

#include <string>
#include <vector>

#include "agent-api/agent.pb.h"

namespace rum::guest {

// What the kernel is told of a folder that QEMU shares by 9p.
inline constexpr char k9pOptions[] = "trans=virtio,version=9p2000.L,msize=262144";

struct MountEntry {
  std::string target;
  std::string type;
  std::string source;  // as it was given: /dev/vdb, a tag, a pool
  bool readonly = false;
  std::string device;    // "254:1"; of btrfs and what has no device, one of the kernel's own
  bool follows = false;  // what is unmounted in the namespace that it came from goes here as well
};

// The lines of a /proc/PID/mountinfo, in its order (proc(5)).
std::vector<MountEntry> ParseMountInfo(const std::string& text);

// Those that this process sees. They are read anew only after the kernel told of a change
// (proc_pid_mountinfo(5)), for writing them all down is a tenth of a look at a guest.
std::vector<MountEntry> MountsNow();

// The mount that is seen at `target`: the last one there; null: none.
const MountEntry* MountedAt(const std::vector<MountEntry>& mounts, const std::string& target);

// One line of an fstab, with its end (fstab(5)). `source`: "UUID=..." or a tag. A missing drive or
// folder does not hold the boot up.
std::string FstabLine(const agent::Volume& volume, const std::string& source);

// `fstab` with `lines` as rum's own block, which is added at the end, replaced or, for no lines,
// taken out; the rest stays.
std::string WithOwnLines(const std::string& fstab, const std::string& lines);

// The lines of rum's block; the targets in them.
std::string OwnLines(const std::string& fstab);
std::vector<std::string> TargetsOf(const std::string& lines);
// Where rum mounted something, at this boot or before.
std::vector<std::string> OwnTargets();

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_MOUNT_TABLE_H_
