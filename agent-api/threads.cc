#include "agent-api/threads.h"

#include "absl/strings/str_cat.h"

namespace rum {

absl::Status NoThread(const std::system_error& error) {
  return absl::UnavailableError(
      absl::StrCat("no thread could be started: ", error.code().message(),
                   "; this user may have no more (`ulimit -u`, or TasksMax= of a service)"));
}

}  // namespace rum
