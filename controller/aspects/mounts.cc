// Folders of the host that are shared with a machine, while it runs: what goes live of a change
// (folder_room.h) becomes so, folder by folder. What is mounted at other times is storage.cc's.
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "controller/aspects/aspects.h"
#include "controller/aspects/folder_room.h"
#include "controller/aspects/storage.h"
#include "controller/aspects/worlds.h"
#include "controller/base/failpoint.h"
#include "controller/base/utf8.h"
#include "controller/hypervisor/definition.h"
#include "state/item_name.h"

namespace rum {
namespace {

constexpr char kMounts[] = "mounts";

// By where it is mounted, else by its tag.
std::string ActionOfFolder(const Folder& folder) {
  const Mount* const mount = folder.wanted != nullptr ? folder.wanted : folder.mounted;
  return ItemName(kMounts, {mount == nullptr ? folder.tag : mount->target()});
}

std::string OrMissing(const std::string& value) { return value.empty() ? "absent" : value; }

class MountsJudge {
 public:
  explicit MountsJudge(const Scene& scene)
      : scene_(scene), domain_(scene.observed.domain), room_(scene) {}

  Verdict Run() {
    NoteApplied();
    if (!domain_.running || !scene_.observed.guest.has_value()) return std::move(verdict_);
    for (const FieldChange& change : scene_.now_changes) {
      if (IsWithin(change.field, kMounts) && GoesLive(scene_, change)) JudgeChange(change);
    }
    for (const auto& [tag, source] : domain_.leaving_folders) JudgeLeaving(room_.Of(tag));
    AddActions();
    return std::move(verdict_);
  }

 private:
  void NoteApplied() {
    if (!domain_.defined && !domain_.running) return;
    *verdict_.seen.mutable_applied() = domain_.running ? domain_.live : domain_.persistent;
    verdict_.Know(absl::StrCat("applied.", kMounts));
  }

  void JudgeChange(const FieldChange& change) {
    std::string remedy = kMounts;
    for (const Folder& folder : room_.OfChange(change.field)) {
      if (room_.Does(folder)) {
        adopted_.push_back(change.field);
        continue;
      }
      moved_[folder.tag] = folder;
      remedy = ActionOfFolder(folder);
    }
    verdict_.AddCurable(
        change.field, remedy, MovedBy(scene_, change.field, change.after, Item::LIBVIRT),
        change.before, change.after,
        absl::StrCat(OrMissing(change.before), " now, ", OrMissing(change.after), " wanted"),
        Outlook(scene_, change.after.empty() ? "taken out" : "shared"));
  }

  // One that the file has is a change.
  void JudgeLeaving(const Folder& folder) {
    if (folder.wanted != nullptr) return;
    const std::string& source = *folder.shared;
    const std::string what = absl::StrCat("the machine has the folder ", source, " still");
    const std::string why = room_.WhyStays(folder.tag);
    if (why.empty()) {
      moved_[folder.tag] = folder;
      verdict_.AddCurable(kMounts, ActionOfFolder(folder), Item::FILE, source, "", what,
                          Outlook(scene_, "taken out"));
      return;
    }
    Change& change = verdict_.waiting.emplace_back();
    change.set_field(kMounts);
    change.set_before(source);
    change.set_effect(RESTART);
    change.set_reason(why);
    verdict_
        .Add(kMounts, Item::NEEDS_RESTART, Item::FILE, source, "", absl::StrCat(what, ": ", why))
        .item.set_reason(why);
  }

  // Those that go make room for those that come.
  void AddActions() {
    if (!adopted_.empty()) {
      auto* const changed = verdict_.AddAction(kMounts)->mutable_adopt_mounts()->mutable_changed();
      changed->Assign(adopted_.begin(), adopted_.end());
    }
    for (const bool comes : {false, true}) {
      for (const auto& [tag, folder] : moved_) {
        if ((folder.wanted != nullptr) == comes) AddMove(folder);
      }
    }
  }

  void AddMove(const Folder& folder) {
    const Mount* const mount = folder.wanted != nullptr ? folder.wanted : folder.mounted;
    auto* const change = verdict_.AddAction(ActionOfFolder(folder))->mutable_change_folder();
    change->set_what(folder.wanted != nullptr ? Action::ChangeFolder::ATTACH
                                              : Action::ChangeFolder::DETACH);
    change->set_tag(folder.tag);
    change->set_source(mount == nullptr ? *folder.shared : mount->source());
    if (mount != nullptr) change->set_target(mount->target());
    const agent::ShareState* const use = room_.Use(folder.tag);
    change->set_lost(!folder.shared.has_value() && use != nullptr && !use->used().empty());
  }

  const Scene& scene_;
  const DomainState& domain_;
  const FolderRoom room_;
  std::vector<std::string> adopted_;     // changes
  std::map<std::string, Folder> moved_;  // by tag
  Verdict verdict_;
};

Verdict JudgeMounts(const Scene& scene) { return MountsJudge(scene).Run(); }

std::optional<Way> WayOfMounts(const Scene& scene, const FieldChange& change) {
  if (!IsWithin(change.field, kMounts)) return std::nullopt;
  return FolderRoom(scene).WayOfChange(change);
}

// What the machine mounts now, with what came and went since it was looked at.
absl::StatusOr<agent::SetStorageReply> TellOfMounts(const Worlds& worlds,
                                                    agent::SetStorageRequest request) {
  const absl::StatusOr<DomainState> domain = worlds.hypervisor.Inspect(worlds.machine);
  if (!domain.ok()) return domain.status();
  const std::vector<agent::Volume> volumes = VolumesOf(*domain);
  request.mutable_volumes()->Add(volumes.begin(), volumes.end());
  absl::StatusOr<agent::SetStorageReply> reply = worlds.agent->SetStorage(request);
  if (reply.ok() && !reply->has_shares())
    return absl::AbortedError("the agent in the guest is of an older rum now");
  return reply;
}

// What was mounted of a folder that goes is not any more, and nobody in the guest has it.
absl::Status Release(const Action::ChangeFolder& change, const Worlds& worlds) {
  const absl::Status dropped = worlds.hypervisor.ChangeFolder(
      worlds.machine, {FolderChange::kMounts, "", {change.tag()}, {}});
  if (!dropped.ok()) return dropped;
  Failpoint("folder:dropped");
  agent::SetStorageRequest request;
  if (change.lost()) {
    request.add_lost_shares(change.tag());
  } else {
    request.add_leaving_shares(change.tag());
  }
  const absl::StatusOr<agent::SetStorageReply> reply = TellOfMounts(worlds, std::move(request));
  if (!reply.ok()) return reply.status();
  for (const agent::ShareState& share : reply->shares().leaving()) {
    if (share.used().empty()) continue;
    return absl::FailedPreconditionError(absl::StrCat("in use: ", ToUtf8(share.used())));
  }
  Failpoint("folder:released");
  return absl::OkStatus();
}

absl::Status Attach(const Action::ChangeFolder& change, const Worlds& worlds, Deed* deed) {
  const bool replaces =
      FolderRoom(worlds.desired, worlds.observed.domain).Of(change.tag()).shared.has_value();
  if (replaces || change.lost()) {
    if (absl::Status released = Release(change, worlds); !released.ok()) return released;
  }
  const absl::Status attached =
      worlds.hypervisor.ChangeFolder(worlds.machine, {FolderChange::kAttach, change.tag(), {}, {}});
  if (!attached.ok()) return attached;
  Failpoint("folder:attached");
  agent::SetStorageRequest request;
  request.add_arriving_shares(change.tag());
  const absl::StatusOr<agent::SetStorageReply> reply = TellOfMounts(worlds, std::move(request));
  if (!reply.ok()) return WithContext("shared, but not mounted", reply.status());
  for (const agent::VolumeState& state : reply->volumes()) {
    if (state.target() != change.target() || state.problem().empty()) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("shared, but not mounted: ", ToUtf8(state.problem())));
  }
  deed->message = absl::StrCat("Shared ", change.source(), " at ", change.target());
  return absl::OkStatus();
}

// libvirt takes a folder away under a mount and a writer: the guest has let it go before.
absl::Status Detach(const Action::ChangeFolder& change, const Worlds& worlds, Deed* deed) {
  if (absl::Status released = Release(change, worlds); !released.ok()) return released;
  deed->message =
      absl::StrCat("Took the shared folder ", change.source(), " out",
                   change.target().empty() ? "" : absl::StrCat(" (", change.target(), ")"));
  return worlds.hypervisor.ChangeFolder(worlds.machine,
                                        {FolderChange::kDetach, change.tag(), {}, {}});
}

// The definition for the next start first: what is missed after it is seen by the next look.
absl::Status ActOnMounts(const Action& action, const Worlds& worlds, Deed* deed) {
  const std::string& what = action.field();
  if (worlds.agent == nullptr) return absl::UnavailableError(absl::StrCat(what, ": no agent"));
  const absl::Status defined =
      worlds.hypervisor.Define(worlds.machine, worlds.desired, Fresh::kNothing, worlds.onlooker);
  if (!defined.ok()) return WithContext(what, defined);
  Failpoint("folder:defined");
  if (!action.has_adopt_mounts()) {
    const Action::ChangeFolder& change = action.change_folder();
    const bool comes = change.what() == Action::ChangeFolder::ATTACH;
    return WithContext(what, comes ? Attach(change, worlds, deed) : Detach(change, worlds, deed));
  }
  const auto& changed = action.adopt_mounts().changed();
  deed->message =
      absl::StrCat("Changed what the machine mounts (", absl::StrJoin(changed, ", "), ")");
  const FolderRoom room(worlds.desired, worlds.observed.domain);
  return WithContext(what, worlds.hypervisor.ChangeFolder(worlds.machine, room.Adopting(changed)));
}

void AskAboutMounts(const Config& desired, const MachineRecord&, const DomainState& domain,
                    agent::ObserveRequest* request) {
  if (!domain.running) return;
  for (const Folder& folder : FolderRoom(desired, domain).All()) {
    if (!folder.IsSettled()) request->add_leaving_shares(folder.tag);
  }
}

}  // namespace

Aspect MountsAspect() {
  return {.name = kMounts,
          .fields = {kMounts},
          .known_by = Item::LIBVIRT,
          .judge = JudgeMounts,
          .act = ActOnMounts,
          .way = WayOfMounts,
          .ask = AskAboutMounts};
}

}  // namespace rum
