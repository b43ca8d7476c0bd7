#include "controller/aspects/storage.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "controller/aspects/aspects.h"
#include "controller/aspects/worlds.h"
#include "controller/base/utf8.h"
#include "controller/hypervisor/definition.h"
#include "state/item_name.h"
#include "state/storage_rules.h"

namespace rum {
namespace {

constexpr char kStorage[] = "storage";

// It goes once nobody uses it, and no later than with the next start.
void AddInUse(const std::string& target, const std::string& why, Verdict* verdict) {
  Change& change = verdict->waiting.emplace_back();
  change.set_field(kStorage);
  change.set_before(target);
  change.set_effect(RESTART);
  change.set_reason(why);
  verdict
      ->Add(kStorage, Item::NEEDS_RESTART, Item::FILE, target, "",
            absl::StrCat(target, " is no longer the machine's, but ", why))
      .item.set_reason(why);
}

// The folder that is to be there was taken away, or another one comes: mounts.cc unmounts then.
bool IsMountsOwn(const Scene& scene, const std::string& target) {
  const std::string item = ItemName("mounts", {target});
  return std::any_of(scene.now_changes.begin(), scene.now_changes.end(),
                     [&](const FieldChange& change) {
                       return IsWithin(change.field, item) && GoesLive(scene, change);
                     });
}

// That the machine is to have them is the definition's; that they are mounted is the guest's.
Verdict JudgeStorage(const Scene& scene) {
  Verdict verdict;
  if (!scene.observed.guest.has_value()) return verdict;
  const agent::Observation& guest = *scene.observed.guest;
  const std::vector<agent::Volume> volumes = VolumesOf(scene.observed.domain);
  if (IsCut(scene, "stale_targets")) AddCut(kStorage, "earlier volumes", &verdict);
  Action::SetStorage set;
  for (int i = 0; i < guest.volumes_size(); ++i) {
    const agent::VolumeState& state = guest.volumes(i);
    if (!state.holds()) set.add_made(state.target());
    if (static_cast<size_t>(i) >= volumes.size()) continue;
    const std::string field = FieldOf(volumes[static_cast<size_t>(i)]);
    if (state.holds()) {
      // What is to change is said of it where that is judged.
      if (FindChange(scene.now_changes, field) == nullptr) verdict.AddHolding(field, "mounted");
    } else {
      verdict.AddCurable(field, kStorage, Item::GUEST, "not mounted", "mounted", "not mounted",
                         Outlook(scene, "mounted"));
    }
  }
  std::map<std::string, std::string> users;
  for (const agent::StaleUsers& stale : guest.stale_users()) users[stale.target()] = stale.users();
  for (const std::string& bytes : guest.stale_targets()) {
    const std::string target = ToUtf8(bytes);
    if (IsMountsOwn(scene, target)) continue;
    if (const auto in_use = users.find(bytes); in_use != users.end()) {
      AddInUse(target, absl::StrCat("in use by ", ToUtf8(in_use->second)), &verdict);
      continue;
    }
    set.add_removed(target);
    verdict.AddCurable(kStorage, kStorage, Item::FILE, target, "",
                       absl::StrCat(target, " is no longer the machine's"),
                       Outlook(scene, "unmounted"));
  }
  if (set.made().empty() && set.removed().empty()) return verdict;
  set.mutable_volumes()->Add(volumes.begin(), volumes.end());
  *verdict.AddAction(kStorage)->mutable_set_storage() = set;
  return verdict;
}

absl::Status ActOnStorage(const Action& action, const Worlds& worlds, Deed* deed) {
  if (worlds.agent == nullptr) return absl::UnavailableError("storage: no agent");
  const Action::SetStorage& set = action.set_storage();
  agent::SetStorageRequest request;
  *request.mutable_volumes() = set.volumes();
  const absl::StatusOr<agent::SetStorageReply> reply = worlds.agent->SetStorage(request);
  if (!reply.ok()) return WithContext("storage", reply.status());
  const std::set<std::string> wanted(set.made().begin(), set.made().end());
  std::vector<std::string> made, failures;
  bool tool_missing = false;
  for (int i = 0; i < reply->volumes_size() && i < set.volumes_size(); ++i) {
    const agent::VolumeState& state = reply->volumes(i);
    if (!state.problem().empty()) {
      failures.push_back(absl::StrCat(FieldOf(set.volumes(i)), ": ", state.problem()));
      tool_missing = tool_missing || state.tool_missing();
    } else if (wanted.count(state.target()) > 0) {
      made.push_back(state.target());
    }
  }
  if (!reply->stale_problem().empty()) failures.push_back(ToUtf8(reply->stale_problem()));
  std::vector<std::string> removed;
  if (reply->stale_problem().empty()) removed.assign(set.removed().begin(), set.removed().end());
  deed->message = ListedMessage("Updated mounts", made, removed);
  if (failures.empty()) return absl::OkStatus();
  return absl::Status(
      tool_missing ? absl::StatusCode::kUnimplemented : absl::StatusCode::kFailedPrecondition,
      absl::StrCat(deed->message.empty() ? "" : absl::StrCat(deed->message, "; "),
                   absl::StrJoin(failures, "; ")));
}

void AskAboutStorage(const Config&, const MachineRecord&, const DomainState& domain,
                     agent::ObserveRequest* request) {
  const std::vector<agent::Volume> volumes = VolumesOf(domain);
  request->mutable_volumes()->Add(volumes.begin(), volumes.end());
}

}  // namespace

Aspect StorageAspect() {
  return {.name = kStorage,
          .fields = {},
          .known_by = Item::GUEST,
          .judge = JudgeStorage,
          .act = ActOnStorage,
          .ask = AskAboutStorage};
}

std::vector<agent::Volume> VolumesOf(const DomainState& domain) {
  std::vector<agent::Volume> volumes;
  for (const auto& [type, list] : domain.live.fs()) {
    for (const Fs& fs : list.entries()) {
      agent::Volume volume;
      volume.set_target(fs.target());
      volume.set_type(type);
      if (!fs.drive().empty()) volume.add_serials(DriveSerial(fs.drive()));
      for (const std::string& drive : fs.drives()) volume.add_serials(DriveSerial(drive));
      volume.set_mode(fs.mode());
      if (type == "zfs") volume.set_pool(PoolOf(fs));
      volumes.push_back(std::move(volume));
    }
  }
  for (const Mount& mount : domain.live.mounts()) {
    agent::Volume volume;
    volume.set_target(mount.target());
    volume.set_type(domain.virtiofs ? "virtiofs" : "9p");
    volume.set_tag(MountTag(mount));
    volume.set_readonly(mount.readonly());
    volumes.push_back(std::move(volume));
  }
  std::sort(volumes.begin(), volumes.end(),
            [](const agent::Volume& a, const agent::Volume& b) { return a.target() < b.target(); });
  return volumes;
}

std::string FieldOf(const agent::Volume& volume) {
  const std::string table =
      volume.serials().empty() ? "mounts" : absl::StrCat("fs.", volume.type());
  return ItemName(table, {volume.target()});
}

}  // namespace rum
