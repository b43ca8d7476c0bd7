#ifndef RUM_CONTROLLER_SERVICE_KNOWN_HOSTS_H_
#define RUM_CONTROLLER_SERVICE_KNOWN_HOSTS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace rum {

// A known_hosts file, sshd(8), in which `host` has just these keys ("TYPE DATA"). What does not
// look like one is left out: a guest says what it likes. Written in one step, for us alone to read.
absl::Status WriteKnownHosts(const std::string& path, const std::string& host,
                             const std::vector<std::string>& keys);

}  // namespace rum

#endif  // RUM_CONTROLLER_SERVICE_KNOWN_HOSTS_H_
