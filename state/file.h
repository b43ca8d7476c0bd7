#ifndef RUM_STATE_FILE_H_
#define RUM_STATE_FILE_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"

namespace rum {

// All bytes of a file. NotFound when there is none, Internal for every other reason; the message
// is the system's words alone ("Is a directory").
absl::StatusOr<std::string> ReadFile(const std::string& path);

// The same, of a regular file of at most `most` bytes; also at once where the path is that of a
// pipe, a device or a socket, which are not opened to be waited for. FailedPrecondition for these
// and for a file that is larger.
absl::StatusOr<std::string> ReadRegularFile(const std::string& path, size_t most);

}  // namespace rum

#endif  // RUM_STATE_FILE_H_
