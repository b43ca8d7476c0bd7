#ifndef RUM_CONTROLLER_BASE_MAY_RETRY_H_
#define RUM_CONTROLLER_BASE_MAY_RETRY_H_

#include "absl/status/status.h"

namespace rum {

// Returns whether what ended so may end otherwise after a while, with nobody doing anything:
// Unavailable, DeadlineExceeded, Aborted. All else waits for another file or another world.
inline bool MayRetry(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) || absl::IsAborted(status);
}

}  // namespace rum

#endif  // RUM_CONTROLLER_BASE_MAY_RETRY_H_
