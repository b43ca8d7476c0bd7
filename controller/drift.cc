#include "controller/drift.h"

#include "controller/standing.h"
#include "state/item_name.h"

namespace rum {
namespace {

bool Same(const Drift& drift, const Item& item) {
  return drift.field() == item.field() && drift.wanted() == item.wanted();
}

const Drift* Find(const Item& item, const MachineRecord& record) {
  for (const Drift& drift : record.drifts()) {
    if (Same(drift, item)) return &drift;
  }
  return nullptr;
}

// Whether who knows of `drift` could be asked for this report.
bool IsKnown(const Drift& drift, const MachineStatus& status) {
  switch (KnownBy(drift)) {
    case Item::GUEST:
      return status.agent_connected();
    case Item::HOST:
      return IsOn(status.phase());
    default:
      return true;
  }
}

bool Reported(const Drift& drift, const MachineStatus& status) {
  for (const Item& item : status.items()) {
    if (item.state() != Item::HOLDS && Same(drift, item)) return true;
  }
  return false;
}

}  // namespace

Item::Author KnownBy(const Drift& drift) {
  Item::Author author = Item::NOBODY;
  if (Item::Author_Parse(drift.known_by(), &author) && author != Item::NOBODY) return author;
  if (IsWithin(drift.field(), "ports")) return Item::HOST;
  for (const char* table : {"agent", "network.hostname", "user.groups", "ssh.authorized_keys",
                            "storage", "fs", "mounts", "provision", "resources.cpus"}) {
    if (IsWithin(drift.field(), table)) return Item::GUEST;
  }
  return Item::LIBVIRT;
}

int64_t FirstSeen(const Item& item, const MachineRecord& record, int64_t now_ms) {
  const Drift* known = Find(item, record);
  return known == nullptr ? now_ms : known->first_seen_ms();
}

std::vector<Drift> NoteDrifts(const MachineStatus& status, MachineRecord* record, bool* changed) {
  std::vector<Drift> settled;
  auto* drifts = record->mutable_drifts();
  for (int i = drifts->size() - 1; i >= 0; --i) {
    const Drift& drift = drifts->Get(i);
    if (!IsKnown(drift, status) || Reported(drift, status)) continue;
    settled.push_back(drift);
    drifts->DeleteSubrange(i, 1);
    *changed = true;
  }
  for (const Item& item : status.items()) {
    if (item.state() == Item::HOLDS || Find(item, *record) != nullptr) continue;
    Drift* drift = drifts->Add();
    drift->set_field(item.field());
    drift->set_wanted(item.wanted());
    drift->set_moved_by(Item::Author_Name(item.moved_by()));
    drift->set_known_by(Item::Author_Name(item.known_by()));
    drift->set_first_seen_ms(item.first_seen_ms());
    *changed = true;
  }
  return settled;
}

bool WasTold(const Item& item, const MachineRecord& record) {
  const Drift* drift = Find(item, record);
  return drift != nullptr && drift->told();
}

void SetTold(const Item& item, MachineRecord* record) {
  for (Drift& drift : *record->mutable_drifts()) {
    if (Same(drift, item)) drift.set_told(true);
  }
}

void NoteCorrection(const std::string& field, int64_t now_ms, MachineRecord* record) {
  Fight* fight = nullptr;
  for (Fight& known : *record->mutable_fights()) {
    if (known.field() == field) fight = &known;
  }
  if (fight == nullptr) fight = record->add_fights();
  fight->set_field(field);
  fight->set_rounds(now_ms - fight->last_ms() <= kRoundMs ? fight->rounds() + 1 : 1);
  fight->set_last_ms(now_ms);
}

bool IsFight(const std::string& field, const MachineRecord& record) {
  for (const Fight& fight : record.fights()) {
    if (fight.field() == field) return fight.rounds() >= kMostRounds;
  }
  return false;
}

}  // namespace rum
