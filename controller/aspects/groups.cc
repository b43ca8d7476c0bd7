#include <algorithm>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "controller/aspects/aspects.h"
#include "controller/aspects/worlds.h"
#include "state/item_name.h"

namespace rum {
namespace {

constexpr char kGroups[] = "user.groups";
constexpr char kOwnedGroups[] = "owned_groups";

using GroupSet = std::set<std::string>;

void JudgeMissingGroup(const Scene& scene, const std::string& group, Verdict* verdict) {
  const std::string field = ItemName(kGroups, {group});
  const Item::Author author = MovedBy(scene, field, group, Item::GUEST);
  verdict->AddCurable(field, kGroups, author, "", group,
                      absl::StrCat(group, " missing in the guest"),
                      Outlook(scene, author == Item::GUEST ? "restored" : "added"));
}

Verdict JudgeGroups(const Scene& scene) {
  Verdict verdict;
  if (!scene.observed.guest.has_value()) return verdict;
  const auto& told = scene.observed.guest->groups();
  const auto& file = scene.desired.user().groups();
  const GroupSet present(told.begin(), told.end());
  const GroupSet wanted(file.begin(), file.end());
  const GroupSet owned(scene.record.owned_groups().begin(), scene.record.owned_groups().end());
  if (IsCut(scene, "groups")) AddCut(kGroups, "groups of the user", &verdict);
  Action::SetGroups set;
  for (const std::string& group : wanted) {
    if (present.count(group) > 0) continue;
    set.add_add(group);
    JudgeMissingGroup(scene, group, &verdict);
  }
  for (const std::string& group : owned) {
    if (wanted.count(group) > 0) continue;
    if (present.count(group) == 0) {  // whoever adds it next owns it
      verdict.released.emplace_back(kOwnedGroups, group);
      continue;
    }
    set.add_remove(group);
    verdict.AddCurable(ItemName(kGroups, {group}), kGroups, Item::FILE, group, "",
                       absl::StrCat(group, " is no longer in the file"), Outlook(scene, "removed"));
  }
  User* applied = verdict.seen.mutable_applied()->mutable_user();
  for (const std::string& group : file) {
    if (present.count(group) > 0) applied->add_groups(group);
  }
  verdict.Know("applied.user.groups");
  if (set.add().empty() && set.remove().empty()) {
    verdict.AddHolding(kGroups, wanted.empty() ? "none" : absl::StrJoin(wanted, ", "));
    return verdict;
  }
  set.set_user(UserInGuest(scene.desired, scene.observed.domain));
  *verdict.AddAction(kGroups)->mutable_set_groups() = set;
  return verdict;
}

absl::Status ActOnGroups(const Action& action, const Worlds& worlds, Deed* deed) {
  if (worlds.agent == nullptr) return absl::UnavailableError("groups: no agent");
  const Action::SetGroups& set = action.set_groups();
  agent::SetGroupsRequest request;
  request.set_user(set.user());
  *request.mutable_add() = set.add();
  *request.mutable_remove() = set.remove();
  const std::string added = absl::StrJoin(set.add(), ", ");
  const std::string removed = absl::StrJoin(set.remove(), ", ");
  if (removed.empty()) {
    deed->message = absl::StrCat("Added ", set.user(), " to groups ", added);
  } else if (added.empty()) {
    deed->message = absl::StrCat("Removed ", set.user(), " from groups ", removed);
  } else {
    deed->message =
        absl::StrCat("Added ", set.user(), " to groups ", added, "; removed from ", removed);
  }
  return WithContext("groups", worlds.agent->SetGroups(request));
}

void AskAboutGroups(const Config& desired, const MachineRecord& record, const DomainState&,
                    agent::ObserveRequest* request) {
  GroupSet groups(desired.user().groups().begin(), desired.user().groups().end());
  groups.insert(record.owned_groups().begin(), record.owned_groups().end());
  request->mutable_groups()->Add(groups.begin(), groups.end());
}

// Those that are about to be added are rum's from now on.
void IntendGroups(const Config&, const Observed&, const Action& action, MachineRecord* record) {
  GroupSet owned(record->owned_groups().begin(), record->owned_groups().end());
  owned.insert(action.set_groups().add().begin(), action.set_groups().add().end());
  record->mutable_owned_groups()->Assign(owned.begin(), owned.end());
}

}  // namespace

Aspect GroupsAspect() {
  return {.name = kGroups,
          .fields = {kGroups},
          .known_by = Item::GUEST,
          .judge = JudgeGroups,
          .act = ActOnGroups,
          .ask = AskAboutGroups,
          .intend = IntendGroups};
}

}  // namespace rum
