#ifndef RUM_CONTROLLER_HYPERVISOR_DEFINITION_H_
#define RUM_CONTROLLER_HYPERVISOR_DEFINITION_H_

#include <cstdint>
#include <optional>
#include <string>

#include "state/config.pb.h"

namespace rum {

// Whether folders of the host can be given to a running machine and taken back, else why not.
enum class Sharing { kNotBy9p, kNoSharedMemory, kNoCgroup, kLive };

// What a running machine can be given or give back, as it was started, and how it stands with that.
struct Room {
  uint32_t cpus = 0;  // that can be plugged
  // False: QEMU emulates them, and may die of one that is plugged while it runs.
  bool plugs_cpus = true;
  // Why one that may not be plugged is not.
  static constexpr char kPlugMayKill[] =
      "QEMU may die of a vCPU that is plugged into an emulated machine";
  // Memory, MiB: that it booted with, of which its balloon leaves it so much; and that can be added
  // by a device, was asked to be, and is. `gives_back`: a guest in need gets back what the balloon
  // took.
  uint64_t boot_mb = 0;
  uint64_t balloon_mb = 0;
  uint64_t addable_mb = 0;
  uint64_t asked_mb = 0;
  uint64_t added_mb = 0;
  bool gives_back = false;
  Sharing sharing = Sharing::kNotBy9p;
};

// Memory is added in blocks.
inline constexpr uint64_t kMemoryBlockMib = 2;
inline uint64_t WholeBlocks(uint64_t mib) {
  return (mib + kMemoryBlockMib - 1) / kMemoryBlockMib * kMemoryBlockMib;
}

// What a definition says after Define(wanted). What only a new root disk can change (the image, the
// user, the libvirt, a smaller size) stays as `present` has it, so that a definition always tells
// what its disk really holds; pass nullopt for a new disk. Sizes in `present` are those of the
// disks as they are, not as a definition will make them. Ports and scripts are not part of a
// definition.
Config DefinitionFor(const Config& wanted, const std::optional<Config>& present);

// The definition `persistent` with the sizes that the disks of the running machine have: what is to
// grow at the next start has not grown yet, and can be taken back. A drive that the running machine
// lacks is as large as it is defined: nobody uses it, so that it grew when that was written.
Config WithSizesOf(const Config& live, Config persistent);

// The tag under which the guest finds a shared folder: the mount's own, else one made of its
// target.
std::string MountTag(const Mount& mount);

// The serial under which the guest finds a drive: at most the 20 bytes that virtio has, letters of
// [A-Za-z0-9_-].
std::string DriveSerial(const std::string& drive);

// libvirt's name of a machine's own network: "rum-<id>." and the name in the file, or what stands
// for it where that is no plain word.
std::string OwnNetworkName(const std::string& machine_id, const std::string& network);

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_DEFINITION_H_
