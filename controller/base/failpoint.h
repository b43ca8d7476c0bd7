#ifndef RUM_CONTROLLER_BASE_FAILPOINT_H_
#define RUM_CONTROLLER_BASE_FAILPOINT_H_

#include <functional>
#include <string>

namespace rum {

// A place where a test may cut the process off, as a power cut would. RUM_FAILPOINT names one
// ("action:2", "action:2:done", "record") or gives a number N: the N-th failpoint that the process
// passes, counted from 0. The process then kills itself with SIGKILL. Without the variable this
// does nothing.
void Failpoint(const std::string& name);

// Has `hook` called instead, for tests in one process; it may throw. Empty: back to the above.
void SetFailpointHook(std::function<void(const std::string& name)> hook);

}  // namespace rum

#endif  // RUM_CONTROLLER_BASE_FAILPOINT_H_
