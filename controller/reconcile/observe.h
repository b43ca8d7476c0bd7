#ifndef RUM_CONTROLLER_RECONCILE_OBSERVE_H_
#define RUM_CONTROLLER_RECONCILE_OBSERVE_H_

#include <mutex>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "agent-api/client/guest_agent.h"
#include "controller/decide/plan.h"

namespace rum {

// `status` with the word libvirt in front, where it does not begin with it.
absl::Status OfLibvirt(const absl::Status& status);

// What a guest was asked last, which it will most likely be asked next. Thread-safe.
class UsualQuestion {
 public:
  std::optional<agent::ObserveRequest> Get() const {
    const std::lock_guard<std::mutex> guard(mutex_);
    return last_;
  }
  void Set(std::optional<agent::ObserveRequest> last) {
    const std::lock_guard<std::mutex> guard(mutex_);
    last_ = std::move(last);
  }

 private:
  mutable std::mutex mutex_;
  std::optional<agent::ObserveRequest> last_;  // none: it stands still, or was never asked
};

// Asks everything that can be asked now; changes nothing. `agent` and `listeners` may be null. An
// agent that does not answer gives no guest, which is a state and no error; a hypervisor that does
// not answer is one. The guest is asked `usual` while libvirt is, and what libvirt says decides
// whether that was the question.
absl::StatusOr<Observed> Observe(const MachineIdentity& machine, Hypervisor& hypervisor,
                                 GuestAgent* agent, ListenerSet* listeners, const Config& desired,
                                 const MachineRecord& record, UsualQuestion* usual);

}  // namespace rum

#endif  // RUM_CONTROLLER_RECONCILE_OBSERVE_H_
