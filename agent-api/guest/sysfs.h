#ifndef RUM_AGENT_API_GUEST_SYSFS_H_
#define RUM_AGENT_API_GUEST_SYSFS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace rum::guest {

// The names of a folder of the kernel's, in no order; none where there is no such folder.
std::vector<std::string> NamesIn(const std::string& folder);
// The numbers N of the entries `prefix`N of a folder of the kernel's ("cpu", "memory"), ascending;
// none where there is no such folder.
std::vector<unsigned> NumbersIn(const std::string& folder, const std::string& prefix);
// Returns one of the kernel's attributes without the end of its line; empty: there is none. One
// read has it whole: https://docs.kernel.org/filesystems/sysfs.html.
std::string ReadAttribute(const std::string& path);
// Writes one of the kernel's attributes, which takes it or says why not.
absl::Status WriteAttribute(const std::string& path, const std::string& value);

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_SYSFS_H_
