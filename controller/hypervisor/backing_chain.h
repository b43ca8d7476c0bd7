#ifndef RUM_CONTROLLER_HYPERVISOR_BACKING_CHAIN_H_
#define RUM_CONTROLLER_HYPERVISOR_BACKING_CHAIN_H_

#include <set>
#include <string>

#include "absl/status/statusor.h"

namespace rum {

// The path without links where this host can tell, so that two names of one file are one.
std::string RealPath(const std::string& path, bool remote);

// The files of this host that the image at `path` stands on directly: the one below it, and that of
// its data where they are apart. A name that is no path ("json:{...}", "nbd://...") is given as it
// is. An error says which file and why.
absl::StatusOr<std::set<std::string>> FilesBelow(const std::string& path);

// The same of what `qemu-img info --output=json` printed.
absl::StatusOr<std::set<std::string>> ReadFilesBelow(const std::string& json);

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_BACKING_CHAIN_H_
