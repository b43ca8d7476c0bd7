#ifndef RUM_STATE_PATHS_H_
#define RUM_STATE_PATHS_H_

#include <string>

#include "state/config.pb.h"

namespace rum {

// Makes the paths of a configuration absolute, against the folder of the file at `path`: `~`, `.`
// and (for mounts) `git`, the top of the repository that the file is in. Gives mounts without a tag
// one.
void ResolvePaths(const std::string& path, Config* config);

// The hostname that a machine's name stands for: '.' and '_' become '-'.
std::string HostnameFrom(const std::string& machine_name);

}  // namespace rum

#endif  // RUM_STATE_PATHS_H_
