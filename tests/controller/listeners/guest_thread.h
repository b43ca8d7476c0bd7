#ifndef RUM_TESTS_CONTROLLER_LISTENERS_GUEST_THREAD_H_
#define RUM_TESTS_CONTROLLER_LISTENERS_GUEST_THREAD_H_

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

#include "absl/status/statusor.h"
#include "agent-api/forward/guest_end.h"
#include "controller/base/fd.h"

namespace rum {

// The guest's end of a forward channel on a thread of this process, whose loopback is the guest's.
// The channel outlives it, as QEMU's does.
class GuestThread {
 public:
  GuestThread();
  ~GuestThread() { Stop(); }
  void Start();
  void Stop();  // as kill -9 does: connections are reset, and nothing is said on the channel
  void Freeze(bool frozen) { frozen_ = frozen; }  // nothing is read or said, and nothing closed
  // When it has read something of the host's.
  std::chrono::steady_clock::time_point last_heard() const { return last_heard_; }
  // The host's end, for one client after another.
  absl::StatusOr<int> OpenChannel() const;

 private:
  Fd port_;
  Fd channel_;
  std::atomic<bool> stop_ = false;
  std::atomic<bool> frozen_ = false;
  std::atomic<std::chrono::steady_clock::time_point> last_heard_{};
  std::thread thread_;
};

}  // namespace rum

#endif  // RUM_TESTS_CONTROLLER_LISTENERS_GUEST_THREAD_H_
