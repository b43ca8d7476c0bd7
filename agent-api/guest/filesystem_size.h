#ifndef RUM_AGENT_API_GUEST_FILESYSTEM_SIZE_H_
#define RUM_AGENT_API_GUEST_FILESYSTEM_SIZE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace rum::guest {

// How many bytes of `device` the mounted filesystem takes up: ext2, ext3, ext4 by the superblock,
// xfs by its own answer. Unimplemented: another type.
absl::StatusOr<uint64_t> FilesystemSize(const std::string& type, const std::string& device,
                                        const std::string& target);

// The same of one device of a btrfs; its number in it is put into `number`. NotFound: the device
// is none of that filesystem's.
absl::StatusOr<uint64_t> BtrfsDeviceSize(const std::string& device, const std::string& target,
                                         uint64_t* number);

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_FILESYSTEM_SIZE_H_
