#ifndef RUM_CONTROLLER_HYPERVISOR_NAMED_PATHS_H_
#define RUM_CONTROLLER_HYPERVISOR_NAMED_PATHS_H_

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace rum {

// What the XML of a domain or of a snapshot names, wherever it stands in it; but not in <metadata>,
// where anybody may write anything.
struct NamedPaths {
  std::set<std::string> paths;     // every value that is an absolute path
  std::vector<std::string> words;  // every other value with a slash in it: arguments of QEMU
  // Images that may be layers over other files, which need not be named: not those that are read
  // as they are ("raw").
  std::set<std::string> layers;
  std::set<std::pair<std::string, std::string>> volumes;  // disks by pool and volume
  std::set<std::string> networks;                         // that its cards are on
};

// Reads them. InvalidArgument: not XML.
absl::StatusOr<NamedPaths> ReadNamedPaths(const std::string& xml);

// The image of a disk in a live definition.
struct LiveDisk {
  std::set<std::string> chain;  // the files that it is a layer over
  bool job = false;             // a block job copies or commits it, and may exchange the file
};

// Reads them by the path of the topmost image. InvalidArgument: not XML.
absl::StatusOr<std::map<std::string, LiveDisk>> ReadLiveDisks(const std::string& xml);

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_NAMED_PATHS_H_
