#ifndef RUM_AGENT_API_GUEST_HOST_KEYS_H_
#define RUM_AGENT_API_GUEST_HOST_KEYS_H_

#include <string>
#include <vector>

namespace rum::guest {

// The public ssh host keys of a folder (/etc/ssh), each as "TYPE DATA", by the names of their
// files.
std::vector<std::string> HostKeysIn(const std::string& folder);

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_HOST_KEYS_H_
