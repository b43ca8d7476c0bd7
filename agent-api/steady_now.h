#ifndef RUM_AGENT_API_STEADY_NOW_H_
#define RUM_AGENT_API_STEADY_NOW_H_

#include <chrono>

#include "absl/time/time.h"

namespace rum {

// Now, by a clock that nobody sets, and whose times mean nothing but in comparison: for deadlines,
// back-offs and how long something took. What is shown or recorded is by absl::Now(), the clock on
// the wall, which is corrected while programs run.
inline absl::Time SteadyNow() {
  return absl::UnixEpoch() + absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

}  // namespace rum

#endif  // RUM_AGENT_API_STEADY_NOW_H_
