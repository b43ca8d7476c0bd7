#include "controller/drift.h"

#include "absl/strings/match.h"

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

bool OnlyAGuestKnows(const std::string& field) {
  for (const char* part :
       {"network.hostname", "user.groups", "ssh.authorized_keys", "storage", "provision."}) {
    if (absl::StartsWith(field, part)) return true;
  }
  return false;
}

bool Reported(const Drift& drift, const MachineStatus& status) {
  for (const Item& item : status.items()) {
    if (item.state() != Item::HOLDS && Same(drift, item)) return true;
  }
  return false;
}

}  // namespace

int64_t FirstSeen(const Item& item, const MachineRecord& record, int64_t now_ms) {
  const Drift* known = Find(item, record);
  return known == nullptr ? now_ms : known->first_seen_ms();
}

std::vector<Drift> NoteDrifts(const MachineStatus& status, MachineRecord* record, bool* changed) {
  std::vector<Drift> settled;
  auto* drifts = record->mutable_drifts();
  for (int i = drifts->size() - 1; i >= 0; --i) {
    const Drift& drift = drifts->Get(i);
    const bool unknown = !status.agent_connected() && OnlyAGuestKnows(drift.field());
    if (unknown || Reported(drift, status)) continue;
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
