#ifndef RUM_STATE_FILE_H_
#define RUM_STATE_FILE_H_

#include <string>

#include "absl/status/statusor.h"

namespace rum {

// All bytes of a file. NotFound when there is none, Internal for every other reason; the message
// is the system's words alone ("Is a directory").
absl::StatusOr<std::string> ReadFile(const std::string& path);

}  // namespace rum

#endif  // RUM_STATE_FILE_H_
