#ifndef RUM_CONTROLLER_RECONCILE_UNREACHABLE_H_
#define RUM_CONTROLLER_RECONCILE_UNREACHABLE_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "controller/aspects/observed.h"
#include "controller/aspects/plan.pb.h"
#include "controller/hypervisor/hypervisor.h"

namespace rum {

// Why nothing more can be done in a machine that is not up.
struct Unreachable {
  absl::Status status;  // its code decides retry
  std::string error;
  bool by_agent = false;  // it runs, and its agent does not answer
};

// nullopt: that it is not up is as it should be. `standing`: what it is, for people; `up`: it was
// to be up, and `started` then.
std::optional<Unreachable> WhyUnreachable(const Observed& observed, MachineStatus::Phase phase,
                                          const std::string& standing, bool up, bool started);

// Says where the guest of a machine got to whose agent did not come: how to look, and the last
// lines of its console where they can be had. Begins with "; ".
std::string WhereItGotTo(Hypervisor* hypervisor, const MachineIdentity& machine);

}  // namespace rum

#endif  // RUM_CONTROLLER_RECONCILE_UNREACHABLE_H_
