#ifndef RUM_AGENT_API_GUEST_FILE_ATTRIBUTES_H_
#define RUM_AGENT_API_GUEST_FILE_ATTRIBUTES_H_

#include <string>

#include "absl/status/status.h"

namespace rum::guest {

// Gives the open file `to`, which shall take the place of `from` at `path`, its extended attributes
// (an ACL is one), owner and mode. Never what makes a program more than its caller, nor checksums
// of the old content.
absl::Status KeepAttributes(int from, int to, const std::string& path);

// Why the file in `folder` at `path` could not be replaced, `error` being the errno: what stands in
// the way and what to do about it.
absl::Status NotReplaced(const std::string& path, int folder, int file, int error);

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_FILE_ATTRIBUTES_H_
