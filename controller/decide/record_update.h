#ifndef RUM_CONTROLLER_DECIDE_RECORD_UPDATE_H_
#define RUM_CONTROLLER_DECIDE_RECORD_UPDATE_H_

#include <cstdint>

#include "controller/decide/plan.h"
#include "state/record.pb.h"

namespace rum {

// How a record follows what was wanted, begun and seen. Pure; each returns whether the record
// changed.

// A configuration that differs from the last one is a new generation, and ends every fight.
bool NoteDesired(const Config& desired, MachineRecord* record);

// Before `action` is executed: what must not be forgotten if the controller dies in the middle of
// it. Groups that are about to be added are rum's from now on; a new disk has nothing of the old
// one.
bool NoteIntent(const Config& desired, const Observed& observed, const Action& action,
                MachineRecord* record);

// After `action` was done: what the guest does not tell, which is what its keys may do.
void NoteDone(const Action& action, MachineRecord* record);

// Copies field by field into `applied` what the verdicts of one look saw to hold. `converged`: no
// action is left, so that the generation as a whole is applied.
bool NoteObserved(const Config& desired, const Judgement& judgement, bool converged, int64_t now_ms,
                  MachineRecord* record);

}  // namespace rum

#endif  // RUM_CONTROLLER_DECIDE_RECORD_UPDATE_H_
