#include "controller/aspects/aspect.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "state/item_name.h"

namespace rum {

namespace {

std::vector<FieldChange> NextChanges(const Config& desired, const DomainState& domain) {
  return domain.defined ? DefinitionChanges(domain.persistent, desired)
                        : std::vector<FieldChange>();
}

std::vector<FieldChange> NowChanges(const Config& desired, const DomainState& domain) {
  return domain.running ? DefinitionChanges(domain.live, desired) : NextChanges(desired, domain);
}

}  // namespace

Scene::Scene(const Config& desired, const MachineRecord& record, const Observed& observed,
             const PlanOptions& options)
    : desired(desired),
      record(record),
      observed(observed),
      options(options),
      file_changes(record.has_applied() ? Diff(record.applied(), desired)
                                        : std::vector<FieldChange>()),
      next_changes(NextChanges(desired, observed.domain)),
      now_changes(NowChanges(desired, observed.domain)) {}

std::vector<FieldChange> DefinitionChanges(const Config& definition, const Config& desired) {
  Config comparable = desired;
  *comparable.mutable_ports() = definition.ports();
  *comparable.mutable_provision() = definition.provision();
  return Diff(definition, comparable);
}

const FieldChange* FindChange(const std::vector<FieldChange>& changes, const std::string& field) {
  const auto found = std::find_if(changes.begin(), changes.end(),
                                  [&](const FieldChange& change) { return change.field == field; });
  return found == changes.end() ? nullptr : &*found;
}

Finding& Verdict::AddHolding(const std::string& field, const std::string& what) {
  return Add(field, Item::HOLDS, Item::NOBODY, "", "", what);
}

Finding& Verdict::Add(const std::string& field, Item::State state, Item::Author moved_by,
                      const std::string& observed, const std::string& wanted,
                      const std::string& what, const std::string& outlook) {
  Finding& finding = findings.emplace_back();
  finding.item.set_field(field);
  finding.item.set_state(state);
  finding.item.set_moved_by(moved_by);
  finding.item.set_observed(observed);
  finding.item.set_wanted(wanted);
  finding.what = what;
  finding.outlook = outlook;
  return finding;
}

Finding& Verdict::AddCurable(const std::string& field, const std::string& remedy,
                             Item::Author moved_by, const std::string& observed,
                             const std::string& wanted, const std::string& what,
                             const std::string& outlook) {
  Finding& finding = Add(field, moved_by == Item::FILE ? Item::PENDING : Item::DRIFTED, moved_by,
                         observed, wanted, what, outlook);
  finding.item.set_remedy(remedy);
  return finding;
}

Action* Verdict::AddAction(const std::string& field) {
  Action* action = &actions.emplace_back();
  action->set_field(field);
  return action;
}

Item::Author MovedBy(const Scene& scene, const std::string& field, const std::string& wanted,
                     Item::Author other) {
  // What was applied follows what is seen, and so forgets who moved it; the drift does not.
  for (const Drift& drift : scene.record.drifts()) {
    Item::Author author = Item::NOBODY;
    if (drift.field() == field && drift.wanted() == wanted &&
        Item::Author_Parse(drift.moved_by(), &author)) {
      return author;
    }
  }
  if (!scene.record.has_applied()) return Item::FILE;
  for (const FieldChange& change : scene.file_changes) {
    if (IsWithin(change.field, field)) return Item::FILE;
  }
  return other;
}

std::string Outlook(const Scene& scene, const std::string& will) {
  return scene.desired.reconcile().auto_() ? absl::StrCat("will be ", will)
                                           : std::string("`rum apply` puts it right");
}

bool IsCut(const Scene& scene, const std::string& list) {
  const auto& cut = scene.observed.guest->cut();
  return std::find(cut.begin(), cut.end(), list) != cut.end();
}

void AddCut(const std::string& field, const std::string& what, Verdict* verdict) {
  verdict->Add(field, Item::FAILING, Item::GUEST, "too many", "",
               absl::StrCat("the guest has more ", what, " than its agent can tell"),
               "those that the file does not name are not all looked at");
}

std::string UserInGuest(const Config& desired, const DomainState& domain) {
  const std::string& made = domain.running ? domain.live.user().name() : "";
  return made.empty() ? desired.user().name() : made;
}

std::string ListedMessage(const std::string& what, const std::vector<std::string>& added,
                          const std::vector<std::string>& removed) {
  std::vector<std::string> parts;
  if (!added.empty()) parts.push_back(absl::StrCat("added ", absl::StrJoin(added, ", ")));
  if (!removed.empty()) parts.push_back(absl::StrCat("removed ", absl::StrJoin(removed, ", ")));
  if (parts.empty()) return "";
  return absl::StrCat(what, " (", absl::StrJoin(parts, ", "), ")");
}

absl::Status WithContext(const std::string& context, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(context, ": ", std::string(status.message())));
}

}  // namespace rum
