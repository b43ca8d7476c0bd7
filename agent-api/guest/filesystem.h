#ifndef RUM_AGENT_API_GUEST_FILESYSTEM_H_
#define RUM_AGENT_API_GUEST_FILESYSTEM_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent-api/agent.pb.h"

namespace rum::guest {

// What is on a device.
struct DeviceContent {
  bool blank = false;  // no signature that libblkid knows, and zeros where filesystems begin
  std::string type;    // "ext4", "btrfs", "zfs_member", "dos" for a partition table; empty: unknown
  std::string uuid;    // of a filesystem
};

// Reads the device, never writes.
absl::StatusOr<DeviceContent> ProbeDevice(const std::string& device);

// Takes all signatures off the device, so that ProbeDevice() calls it blank.
absl::Status MakeBlank(const std::string& device);

// The command that makes `volume`'s filesystem on `devices`: no shell, no word that the other side
// could take as an option.
std::vector<std::string> FormatCommand(const agent::Volume& volume,
                                       const std::vector<std::string>& devices);

// Whether `content` is `volume`'s filesystem already.
bool IsOf(const agent::Volume& volume, const DeviceContent& content);

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_FILESYSTEM_H_
