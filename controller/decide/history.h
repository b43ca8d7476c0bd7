#ifndef RUM_CONTROLLER_DECIDE_HISTORY_H_
#define RUM_CONTROLLER_DECIDE_HISTORY_H_

#include <cstdint>
#include <string>

#include "controller/aspects/plan.pb.h"
#include "state/record.pb.h"

namespace rum {

// A machine's history in its record: the last kMostEvents, so that it goes to disk with what it
// tells of, or not at all. Pure.
inline constexpr int kMostEvents = 200;

// Numbers it; long values are cut. A failure that only repeats the last word on its field is left
// out, so that an hour of retries is one entry.
void AddEvent(Event event, MachineRecord* record);

// What rum did, or could not do, about the items of `before` that `action` puts right: one entry
// for each, or one for the action where there is none. Counts rounds of a fight.
void NoteAction(const ActionResult& result, const MachineStatus& before, int64_t now_ms,
                MachineRecord* record);

// What was seen: conditions, drifts, and entries for what rum does not put right by itself.
// `acting`: rum is about to do what it can. True: the record changed.
bool NoteReport(const MachineStatus& status, bool acting, int64_t now_ms, MachineRecord* record);

// "file", "libvirt", "guest", "host"; "" for nobody.
std::string ByName(Item::Author author);

}  // namespace rum

#endif  // RUM_CONTROLLER_DECIDE_HISTORY_H_
