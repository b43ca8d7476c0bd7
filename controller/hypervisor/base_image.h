#ifndef RUM_CONTROLLER_HYPERVISOR_BASE_IMAGE_H_
#define RUM_CONTROLLER_HYPERVISOR_BASE_IMAGE_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

namespace rum {

// A file that root disks are made from.
struct BaseImage {
  std::string path;
  std::string format;         // "qcow2" or "raw", by its first bytes
  uint64_t virtual_size = 0;  // bytes, as a guest sees it
  uint64_t file_size = 0;
  bool has_backing = false;    // it is a layer over another file
  bool world_readable = true;  // any user of this host can open it
  std::string mark;            // changes when the file does: size and time of its last change
};

// As a guest sees the disk in a qcow2 file; none: it is no such file, or this user cannot read it.
std::optional<uint64_t> VirtualSizeOf(const std::string& path);

// The mark of a file as it is now; empty when there is none.
std::string ImageMark(const std::string& path);

// `base`: a path or a file:// URL. InvalidArgument for what is not a file on this host, NotFound
// when it is not there.
absl::StatusOr<BaseImage> ProbeBaseImage(const std::string& base);

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_BASE_IMAGE_H_
