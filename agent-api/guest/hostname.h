#ifndef RUM_AGENT_API_GUEST_HOSTNAME_H_
#define RUM_AGENT_API_GUEST_HOSTNAME_H_

#include <string>

#include "absl/status/status.h"

namespace rum::guest {

// Reads the first line of /etc/hostname, as far as a name may be long and a bit further. Empty:
// there is none.
std::string StaticHostname();

// The kernel's, /etc/hostname and the machine's own names in /etc/hosts (sudo looks its own host up
// there; see hosts_file.h). One that cannot be set does not keep the others from it.
absl::Status SetHostname(const std::string& hostname);

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_HOSTNAME_H_
