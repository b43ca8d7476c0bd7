#include "controller/decide/history.h"

#include <google/protobuf/util/message_differencer.h>

#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "controller/aspects/standing.h"
#include "controller/base/utf8.h"
#include "controller/decide/conditions.h"
#include "controller/decide/drift.h"

namespace rum {
namespace {

using google::protobuf::util::MessageDifferencer;

constexpr size_t kMostBytes = 200;
constexpr MachineStatus::Phase kPhasesThatRun = MachineStatus::UNREACHABLE;  // and those before it

// Cuts at the end of a character.
void Cut(std::string* text) {
  if (text->size() <= kMostBytes) return;
  text->resize(kMostBytes);
  text->resize(kMostBytes - BytesOfBegunCharacter(*text));
  *text += "…";
}

bool Repeats(const Event& event, const MachineRecord& record) {
  if (event.kind() != Event::FAILED) return false;
  for (int i = record.events_size() - 1; i >= 0; --i) {
    const Event& last = record.events(i);
    if (last.field() != event.field()) continue;
    return last.kind() == event.kind() && last.why() == event.why() &&
           last.after() == event.after();
  }
  return false;
}

Event About(const Item& item, Event::Kind kind, int64_t now_ms) {
  Event event;
  event.set_time_ms(now_ms);
  event.set_kind(kind);
  event.set_field(item.field());
  event.set_before(item.observed());
  event.set_after(item.wanted());
  event.set_by(ByName(item.moved_by()));
  return event;
}

// Not told yet, and not about to be put right.
void TellSights(const MachineStatus& status, bool acting, int64_t now_ms, MachineRecord* record) {
  for (const Item& item : status.items()) {
    if (item.state() == Item::HOLDS) continue;
    // TellPhase tells of a machine that went, and its restart of itself.
    const bool told_elsewhere = item.state() == Item::FAILING || item.field() == kRunItem;
    if (told_elsewhere && !item.given_up()) continue;
    const bool curable = acting && !item.remedy().empty() && !item.given_up();
    if (curable || WasTold(item, *record)) continue;
    SetTold(item, record);
    Event event = About(item, item.given_up() ? Event::GAVE_UP : Event::SEEN, now_ms);
    event.set_why(item.reason().empty() ? item.text() : item.text() + " — " + item.reason());
    AddEvent(std::move(event), record);
  }
}

// The machine went off or stands still, and nobody said `rum down`.
void TellPhase(const MachineStatus& status, int64_t now_ms, MachineRecord* record) {
  const Condition* now = FindCondition(status, "AgentConnected");
  const bool told = status.phase() == MachineStatus::STOPPED || status.phase() > kPhasesThatRun;
  if (!record->want_running() || now == nullptr || !told) return;
  for (const Condition& before : record->conditions()) {
    if (before.type() != now->type() || before.reason() == now->reason()) continue;
    Event event;
    event.set_time_ms(now_ms);
    event.set_kind(Event::SEEN);
    event.set_field("domain");
    event.set_before("running");
    event.set_after(PhaseName(status.phase()));
    event.set_why(status.phase_reason().empty() ? now->message() : status.phase_reason());
    event.set_by(ByName(Item::LIBVIRT));
    AddEvent(std::move(event), record);
  }
}

bool NotePhase(const MachineStatus& status, int64_t now_ms, MachineRecord* record) {
  const std::string& phase = MachineStatus::Phase_Name(status.phase());
  if (record->phase() == phase) return false;
  record->set_phase(phase);
  record->set_phase_since_ms(now_ms);
  return true;
}

bool NoteConditions(const MachineStatus& status, MachineRecord* record) {
  bool same = record->conditions_size() == status.conditions_size();
  for (int i = 0; same && i < status.conditions_size(); ++i) {
    same = MessageDifferencer::Equals(record->conditions(i), status.conditions(i));
  }
  if (!same) *record->mutable_conditions() = status.conditions();
  return !same;
}

}  // namespace

std::string ByName(Item::Author author) {
  return author == Item::NOBODY ? "" : absl::AsciiStrToLower(Item::Author_Name(author));
}

void AddEvent(Event event, MachineRecord* record) {
  MakeUtf8(&event);  // what others say may be anything, and the record is JSON
  for (std::string* text : {event.mutable_before(), event.mutable_after(), event.mutable_why()}) {
    Cut(text);
  }
  if (Repeats(event, *record)) return;
  record->set_last_event(record->last_event() + 1);
  event.set_number(record->last_event());
  *record->add_events() = std::move(event);
  if (record->events_size() > kMostEvents) {
    record->mutable_events()->DeleteSubrange(0, record->events_size() - kMostEvents);
  }
}

void NoteAction(const ActionResult& result, const MachineStatus& before, int64_t now_ms,
                MachineRecord* record) {
  const Event::Kind kind = result.ok() ? Event::DONE : Event::FAILED;
  const std::string& field = result.action().field();
  std::vector<Event> events;
  std::string by = "command";
  bool correction = false;
  for (const Item& item : before.items()) {
    const bool waits = item.state() == Item::NEEDS_RESTART && result.action().has_define_domain();
    if (waits) by = ByName(item.moved_by());
    if (item.state() == Item::HOLDS || item.remedy() != field) continue;
    events.push_back(About(item, kind, now_ms));
    correction = correction || item.state() == Item::DRIFTED;
  }
  if (events.empty()) {
    Event& event = events.emplace_back();
    event.set_time_ms(now_ms);
    event.set_kind(kind);
    event.set_field(field);
    event.set_by(by);
  }
  for (Event& event : events) {
    event.set_why(result.message());
    event.set_took_ms(result.duration_ms());
    AddEvent(std::move(event), record);
  }
  // Nobody else can close a listener of this process: a new controller opens what its predecessor
  // had, and six restarts in a row are no fight.
  const bool nobodys = result.action().has_run_script() || result.action().has_set_forwards();
  if (result.ok() && correction && !nobodys) NoteCorrection(field, now_ms, record);
}

bool NoteReport(const MachineStatus& status, bool acting, int64_t now_ms, MachineRecord* record) {
  const int64_t last_event = record->last_event();
  bool changed = false;
  for (const Drift& settled : NoteDrifts(status, record, &changed)) {
    if (!settled.told()) continue;
    Event event;
    event.set_time_ms(now_ms);
    event.set_kind(Event::SETTLED);
    event.set_field(settled.field());
    event.set_after(settled.wanted());
    event.set_why("holds again");
    AddEvent(std::move(event), record);
  }
  TellSights(status, acting, now_ms, record);
  TellPhase(status, now_ms, record);
  changed = NoteConditions(status, record) || changed;
  changed = NotePhase(status, now_ms, record) || changed;
  return changed || record->last_event() != last_event;
}

}  // namespace rum
