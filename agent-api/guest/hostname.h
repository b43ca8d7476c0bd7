#ifndef RUM_AGENT_API_GUEST_HOSTNAME_H_
#define RUM_AGENT_API_GUEST_HOSTNAME_H_

#include <string>

#include "absl/status/status.h"

namespace rum::guest {

// The kernel's, /etc/hostname and the 127.0.1.1 line of /etc/hosts (sudo looks its own host up
// there).
absl::Status SetHostname(const std::string& hostname);

// `hosts` with the names of the 127.0.1.1 line replaced, or with such a line after 127.0.0.1's; all
// else as it was.
std::string WithOwnName(const std::string& hosts, const std::string& hostname);

// Whether a line of `hosts` has this name.
bool NamesHost(const std::string& hosts, const std::string& hostname);

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_HOSTNAME_H_
