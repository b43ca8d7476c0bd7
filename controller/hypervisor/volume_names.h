#ifndef RUM_CONTROLLER_HYPERVISOR_VOLUME_NAMES_H_
#define RUM_CONTROLLER_HYPERVISOR_VOLUME_NAMES_H_

#include <optional>
#include <string>

namespace rum {

// What a volume of a machine is: its disk, its seed, a drive, or a base image on its way into the
// pool.
enum class VolumeKind { kRoot, kSeed, kDrive, kCopy };

// "rum-dev-0123456789ab.root.<nonce>.qcow2" and so on. `part` is the nonce, the hash of a seed or
// the serial of a drive.
std::string VolumeName(const std::string& domain, VolumeKind kind, const std::string& part);

struct OwnVolume {
  VolumeKind kind;
  std::string part;
};

// What a name of that form says; nullopt: it has another form, as those have of machines whose name
// begins with another's whole domain name. It does not say that rum made the volume: see Ledger.
std::optional<OwnVolume> ParseVolumeName(const std::string& domain, const std::string& volume);

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_VOLUME_NAMES_H_
