#ifndef RUM_CONTROLLER_ASPECTS_STANDING_H_
#define RUM_CONTROLLER_ASPECTS_STANDING_H_

#include <string>

#include "controller/aspects/observed.h"
#include "controller/aspects/plan.pb.h"

namespace rum {

// What a machine is, why, and the command that goes on with it: the one place that says so, for
// reports, conditions and errors.
struct Standing {
  MachineStatus::Phase phase = MachineStatus::NOT_DEFINED;
  std::string reason;  // "QEMU ended unexpectedly"; empty: there is none
  std::string remedy;  // "`rum up` starts it"; empty: nothing is to do
};

Standing StandingOf(const Observed& observed);

// "dev is paused (by `virsh suspend` or the like): `rum up` goes on with it".
std::string StandingText(const std::string& name, const Standing& standing);

// Its listeners are there.
bool IsOn(MachineStatus::Phase phase);

// "shutting down".
std::string PhaseName(MachineStatus::Phase phase);

}  // namespace rum

#endif  // RUM_CONTROLLER_ASPECTS_STANDING_H_
