#ifndef RUM_CONTROLLER_HYPERVISOR_DISK_PLACES_H_
#define RUM_CONTROLLER_HYPERVISOR_DISK_PLACES_H_

#include <map>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "controller/hypervisor/domain_xml.h"
#include "controller/hypervisor/named_paths.h"

namespace rum {

// Where the images of a machine's disks are.
struct DiskPlaces {
  std::string root;                           // empty: there is no definition
  std::map<std::string, std::string> drives;  // by drive name
};

// Reads it from the definitions: people make snapshots, commit and copy images, and exchange disks,
// and the name that rum once gave is then that of the past. What runs is nearer to the truth.
// Aborted: an image is about to be exchanged by a block job. FailedPrecondition: the running
// machine and its definition have different disks, and the one is no newer layer over the other.
absl::StatusOr<DiskPlaces> PlacesNow(const std::optional<DomainFacts>& persistent,
                                     const std::optional<DomainFacts>& live,
                                     const std::map<std::string, LiveDisk>& live_disks);

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_DISK_PLACES_H_
