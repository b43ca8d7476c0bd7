#ifndef RUM_AGENT_API_GUEST_SYSFS_H_
#define RUM_AGENT_API_GUEST_SYSFS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace rum::guest {

// The numbers N of the entries `prefix`N of a folder of the kernel's ("cpu", "memory"), ascending;
// none where there is no such folder.
std::vector<unsigned> NumbersIn(const std::string& folder, const std::string& prefix);
// Writes one of the kernel's attributes, which takes it or says why not.
absl::Status WriteAttribute(const std::string& path, const std::string& value);

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_SYSFS_H_
