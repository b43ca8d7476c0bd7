#ifndef RUM_CONTROLLER_DECIDE_CONDITIONS_H_
#define RUM_CONTROLLER_DECIDE_CONDITIONS_H_

#include <cstdint>
#include <string>

#include "controller/aspects/plan.pb.h"
#include "state/record.pb.h"

namespace rum {

// The six conditions of a report, each of the report's own generation. Synced is true only for a
// generation that was applied as a whole and of which every item was seen to hold: what waits for a
// restart or for a word of the user is not synced. Ready: the agent answers, the scripts ran, the
// ports are open. What cannot be known now is UNKNOWN. Pure: the time of the last transition is
// that of `record` where the status is the same, else `now_ms`.
void SetConditions(const MachineRecord& record, int64_t now_ms, MachineStatus* status);

// Null: `status` has none of this type.
const Condition* FindCondition(const MachineStatus& status, const std::string& type);

}  // namespace rum

#endif  // RUM_CONTROLLER_DECIDE_CONDITIONS_H_
