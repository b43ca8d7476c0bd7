#ifndef RUM_CONTROLLER_DECIDE_DRIFT_H_
#define RUM_CONTROLLER_DECIDE_DRIFT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "controller/aspects/plan.pb.h"
#include "state/record.pb.h"

namespace rum {

// What a record remembers of what does not hold. Pure.

// The item of a machine that is wanted up and went by itself.
inline constexpr char kRunItem[] = "machine";

// Says who can tell whether `drift` holds: as the report said, or, of a record that an older build
// wrote, by the table that it is of.
Item::Author KnownBy(const Drift& drift);

// Since when `item` does not hold (Unix time, ms): as the record knows, else `now_ms`.
int64_t FirstSeen(const Item& item, const MachineRecord& record, int64_t now_ms);

// Remembers what does not hold with its author and its first sight, and forgets, and returns, what
// holds again. What only a guest can tell stays while none is connected, what only the host's
// listeners can, while there are none. `changed` becomes true
// when the record did.
std::vector<Drift> NoteDrifts(const MachineStatus& status, MachineRecord* record, bool* changed);

// Whether the history says already that `item` does not hold; needs NoteDrifts before.
bool WasTold(const Item& item, const MachineRecord& record);
void SetTold(const Item& item, MachineRecord* record);

// How often rum puts a field right before it takes it for a fight, and how long after one
// correction the next one still belongs to it.
inline constexpr int kMostRounds = 5;
inline constexpr int64_t kRoundMs = 60 * 60 * 1000;

// The action of `field` put right at `now_ms` what somebody else than the file had moved.
void NoteCorrection(const std::string& field, int64_t now_ms, MachineRecord* record);
// Somebody has moved it after each of kMostRounds corrections: the loop leaves it alone, until
// `rum apply` or another file makes peace.
bool IsFight(const std::string& field, const MachineRecord& record);

}  // namespace rum

#endif  // RUM_CONTROLLER_DECIDE_DRIFT_H_
