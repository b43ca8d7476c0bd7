#include "controller/aspects/folder_room.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "controller/aspects/plug_ports.h"
#include "controller/base/utf8.h"
#include "controller/hypervisor/definition.h"
#include "state/item_name.h"

namespace rum {
namespace {

constexpr char kMountsTable[] = "mounts";
constexpr char kKnowsNoFolders[] =
    "the agent in the guest is of an older rum, which changes no shared folders while the machine "
    "runs";

Way NeedsRestart(const std::string& reason) { return {Way::kRestart, reason}; }

const Mount* WithTag(const Config& config, const std::string& tag) {
  const auto found = std::find_if(config.mounts().begin(), config.mounts().end(),
                                  [&](const Mount& mount) { return MountTag(mount) == tag; });
  return found == config.mounts().end() ? nullptr : &*found;
}

std::string ItemOfMount(const Mount& mount) { return ItemName(kMountsTable, {mount.target()}); }

bool IsAbout(const std::string& field, const Mount* mount) {
  return mount != nullptr && (IsWithin(field, ItemOfMount(*mount)) || field == kMountsTable);
}

std::string WhyNotLive(Sharing sharing) {
  switch (sharing) {
    case Sharing::kNotBy9p:
      return "9p cannot be hot-plugged; qemu:///system can";
    case Sharing::kNoSharedMemory:
      return "the machine was started without shared memory, which virtiofs needs; its next start "
             "has it";
    case Sharing::kNoCgroup:
      return "libvirt has no cgroup for the machine, and may die of a folder that comes while it "
             "runs";
    case Sharing::kLive:
      break;
  }
  return "";
}

}  // namespace

bool Folder::IsSettled() const {
  if (wanted == nullptr || mounted == nullptr) return wanted == nullptr && !shared.has_value();
  return shared == wanted->source() && mounted->target() == wanted->target() &&
         mounted->readonly() == wanted->readonly();
}

FolderRoom::FolderRoom(const Config& desired, const DomainState& domain)
    : desired_(desired), domain_(domain) {}

FolderRoom::FolderRoom(const Scene& scene)
    : desired_(scene.desired), domain_(scene.observed.domain), scene_(&scene) {}

Folder FolderRoom::Of(const std::string& tag) const {
  Folder folder;
  folder.tag = tag;
  folder.mounted = WithTag(domain_.live, tag);
  folder.wanted = WithTag(desired_, tag);
  if (folder.mounted != nullptr) folder.shared = folder.mounted->source();
  const auto leaving = domain_.leaving_folders.find(tag);
  if (leaving != domain_.leaving_folders.end()) folder.shared = leaving->second;
  return folder;
}

std::vector<Folder> FolderRoom::All() const {
  std::set<std::string> tags;
  for (const Config* config : {&desired_, &domain_.live}) {
    for (const Mount& mount : config->mounts()) tags.insert(MountTag(mount));
  }
  for (const auto& [tag, source] : domain_.leaving_folders) tags.insert(tag);
  std::vector<Folder> folders;
  for (const std::string& tag : tags) folders.push_back(Of(tag));
  return folders;
}

std::vector<Folder> FolderRoom::OfChange(const std::string& field) const {
  std::vector<Folder> folders;
  for (Folder& folder : All()) {
    if (IsAbout(field, folder.mounted) || IsAbout(field, folder.wanted))
      folders.push_back(std::move(folder));
  }
  return folders;
}

// virtiofsd knows of no folder that is only to be read: the guest's mount says it.
bool FolderRoom::Does(const Folder& folder) const {
  if (folder.wanted == nullptr || folder.shared != folder.wanted->source()) return false;
  return domain_.virtiofs || folder.mounted == nullptr ||
         folder.mounted->readonly() == folder.wanted->readonly();
}

const agent::ShareState* FolderRoom::Use(const std::string& tag) const {
  if (scene_ == nullptr || !scene_->observed.guest.has_value()) return nullptr;
  const auto& told = scene_->observed.guest->shares().leaving();
  const auto found = std::find_if(
      told.begin(), told.end(), [&](const agent::ShareState& share) { return share.tag() == tag; });
  return found == told.end() ? nullptr : &*found;
}

std::string FolderRoom::InUse(const std::string& tag) const {
  const agent::ShareState* const use = Use(tag);
  if (use == nullptr) return "the guest does not say who uses it";
  if (use->used().empty() || use->idle()) return "";
  return absl::StrCat("in use: ", ToUtf8(use->used()));
}

Way FolderRoom::WayOfChange(const FieldChange& change) const {
  // Nobody knows of a guest that does not answer what it would make of it.
  if (scene_ == nullptr || !scene_->observed.guest.has_value()) return NeedsRestart(change.reason);
  if (!scene_->observed.guest->has_shares()) return NeedsRestart(kKnowsNoFolders);
  for (const Folder& folder : OfChange(change.field)) {
    if (Way way = WayOfFolder(folder, change); way.what != Way::kLive) return way;
  }
  return {Way::kLive, ""};
}

Way FolderRoom::WayOfFolder(const Folder& folder, const FieldChange& change) const {
  if (folder.IsSettled()) return {Way::kLive, ""};
  const bool stays = Does(folder);
  const Sharing sharing = domain_.room.sharing;
  if (!stays && sharing != Sharing::kLive) return NeedsRestart(WhyNotLive(sharing));
  // It leaves, or its mount does.
  const bool moves = folder.mounted != nullptr && folder.wanted != nullptr &&
                     folder.mounted->target() != folder.wanted->target();
  if (folder.shared.has_value() && (!stays || moves)) {
    if (const std::string why = InUse(folder.tag); !why.empty()) return NeedsRestart(why);
  }
  if (stays || folder.wanted == nullptr) return {Way::kLive, ""};
  Way way = Attaching(folder);
  if (way.reason.empty() && way.what != Way::kLive) way.reason = change.reason;
  return way;
}

// One that replaces another has its port.
Way FolderRoom::Attaching(const Folder& folder) const {
  if (!scene_->observed.guest->shares().virtiofs())
    return NeedsRestart("the guest's kernel has no virtiofs");
  if (domain_.others_tags.count(folder.tag) > 0) {
    return NeedsRestart(
        absl::StrCat("a folder that somebody else shares with the machine has the tag ", folder.tag,
                     " (tag = \"...\" chooses another)"));
  }
  if (folder.shared.has_value()) return {Way::kLive, ""};
  if (!domain_.ports.has_value()) return NeedsRestart("");
  return WayToPlug(*scene_, TakerOfFolder(folder.tag));
}

std::string FolderRoom::WhyStays(const std::string& tag) const {
  if (!scene_->options.live || !scene_->desired.reconcile().live())
    return "nothing is to change while the machine runs";
  if (!scene_->observed.guest->has_shares()) return kKnowsNoFolders;
  const std::string why = WhyNotLive(domain_.room.sharing);
  return why.empty() ? InUse(tag) : why;
}

FolderChange FolderRoom::Adopting(
    const google::protobuf::RepeatedPtrField<std::string>& changed) const {
  FolderChange adopting = {FolderChange::kMounts, "", {}, {}};
  for (const std::string& field : changed) {
    for (const Folder& folder : OfChange(field)) {
      if (!Does(folder) || !adopting.tags.insert(folder.tag).second) continue;
      *adopting.mounts.Add() = *folder.wanted;
    }
  }
  return adopting;
}

}  // namespace rum
