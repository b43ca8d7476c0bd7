#include "controller/report.h"

#include "absl/strings/str_cat.h"
#include "state/item_name.h"

namespace rum {

Report::Report(const Config& desired, const MachineRecord& record, const Observed& observed)
    : desired_(desired),
      record_(record),
      observed_(observed),
      plan_(MakePlan(desired, record, observed, PlanOptions())) {
  if (record.has_applied()) file_changes_ = Diff(record.applied(), desired);
}

Item::Author Report::MovedBy(const std::string& field, const std::string& wanted,
                             Item::Author other) const {
  // What was applied follows what is seen, and so forgets who moved it; the drift does not.
  for (const Drift& drift : record_.drifts()) {
    Item::Author author = Item::NOBODY;
    if (drift.field() == field && drift.wanted() == wanted &&
        Item::Author_Parse(drift.moved_by(), &author)) {
      return author;
    }
  }
  if (!record_.has_applied()) return Item::FILE;
  for (const FieldChange& change : file_changes_) {
    if (IsWithin(change.field, field)) return Item::FILE;
  }
  return other;
}

std::string Report::Remedy(const std::string& will) const {
  return desired_.reconcile().auto_() ? absl::StrCat("will be ", will)
                                      : std::string("`rum apply` puts it right");
}

const Action* Report::ActionOf(const std::string& field) const {
  for (const Action& action : plan_.actions()) {
    if (action.field() == field) return &action;
  }
  return nullptr;
}

Item* Report::AddHolding(const std::string& field, const std::string& text) {
  return Add(field, Item::HOLDS, Item::NOBODY, "", "", text);
}

Item* Report::Add(const std::string& field, Item::State state, Item::Author moved_by,
                  const std::string& observed, const std::string& wanted, const std::string& text) {
  Item& item = items_.emplace_back();
  item.set_field(field);
  item.set_state(state);
  item.set_moved_by(moved_by);
  item.set_observed(observed);
  item.set_wanted(wanted);
  item.set_text(text);
  item.set_known_by(known_by_);
  return &item;
}

Item* Report::AddCurable(const std::string& field, const std::string& remedy, Item::Author moved_by,
                         const std::string& observed, const std::string& wanted,
                         const std::string& text) {
  Item* item = Add(field, moved_by == Item::FILE ? Item::PENDING : Item::DRIFTED, moved_by,
                   observed, wanted, text);
  item->set_remedy(remedy);
  return item;
}

}  // namespace rum
