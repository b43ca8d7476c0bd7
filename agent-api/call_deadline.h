#ifndef RUM_AGENT_API_CALL_DEADLINE_H_
#define RUM_AGENT_API_CALL_DEADLINE_H_

#include <grpc/support/time.h>

#include <chrono>

namespace rum {

// When gRPC is to give a call up, by the clock that nobody sets: a deadline on std::chrono's
// system_clock, which gRPC takes as well, comes early or late when the host's time is corrected.
inline gpr_timespec After(std::chrono::milliseconds patience) {
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                      gpr_time_from_millis(patience.count(), GPR_TIMESPAN));
}

inline gpr_timespec Never() { return gpr_inf_future(GPR_CLOCK_MONOTONIC); }

}  // namespace rum

#endif  // RUM_AGENT_API_CALL_DEADLINE_H_
