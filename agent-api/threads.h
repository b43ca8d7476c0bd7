#ifndef RUM_AGENT_API_THREADS_H_
#define RUM_AGENT_API_THREADS_H_

#include <system_error>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace rum {

// Unavailable, with what to do about it.
absl::Status NoThread(const std::system_error& error);

// Runs `work` on a thread of its own. Unavailable: the system has no thread left to give, in place
// of the exception that std::thread's constructor throws then.
template <typename Work>
absl::StatusOr<std::thread> StartThread(Work work) {
  try {
    return std::thread(std::move(work));
  } catch (const std::system_error& error) {
    return NoThread(error);
  }
}

}  // namespace rum

#endif  // RUM_AGENT_API_THREADS_H_
