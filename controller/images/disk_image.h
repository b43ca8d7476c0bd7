#ifndef RUM_CONTROLLER_IMAGES_DISK_IMAGE_H_
#define RUM_CONTROLLER_IMAGES_DISK_IMAGE_H_

#include <string>

#include "absl/status/status.h"

namespace rum {

// Whether a file is what a root disk can be made from, by its content: qcow2, or a raw disk with a
// partition table or a filesystem that libblkid knows. InvalidArgument: it is not, and says what it
// is. `name`: in the text. `foreign`: it comes from elsewhere, and so must name no other file of
// this host, which a guest could then read.
absl::Status CheckDiskImage(const std::string& path, const std::string& name, bool foreign);

}  // namespace rum

#endif  // RUM_CONTROLLER_IMAGES_DISK_IMAGE_H_
