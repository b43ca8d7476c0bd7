#include "controller/aspects/disk_room.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "controller/aspects/plug_ports.h"
#include "controller/base/utf8.h"
#include "controller/hypervisor/definition.h"
#include "state/item_name.h"

namespace rum {
namespace {

constexpr char kRootDiskSerial[] = "rum.root";
constexpr char kKnowsNoDrives[] =
    "the agent in the guest is of an older rum, which changes no disks while the machine runs";

Way AtRestart(const std::string& reason) { return {Way::kRestart, reason}; }

bool HasDrive(const Config& config, const std::string& drive) {
  return config.drives().find(drive) != config.drives().end();
}

// Whether nothing but the drive under it differs.
bool MovesOnly(const FsItem& before, const FsItem& after) {
  return before.fs.drives_size() == 0 && after.fs.drives_size() == 0 &&
         before.fs.mode() == after.fs.mode() && before.fs.pool() == after.fs.pool();
}

}  // namespace

bool IsOfDisks(const std::string& field) {
  return IsWithin(field, kRootDisk) || IsWithin(field, "drives") || IsWithin(field, "fs");
}

std::vector<std::string> FsItem::Drives() const {
  std::vector<std::string> drives(fs.drives().begin(), fs.drives().end());
  if (!fs.drive().empty()) drives.push_back(fs.drive());
  return drives;
}

std::map<std::string, FsItem> FsItemsOf(const Config& config) {
  std::map<std::string, FsItem> items;
  for (const auto& [type, list] : config.fs()) {
    for (const Fs& fs : list.entries()) {
      items[ItemName(absl::StrCat("fs.", type), {fs.target()})] = {type, fs};
    }
  }
  return items;
}

bool IsOfItem(const std::string& changed, const std::string& item) {
  return IsWithin(changed, item) || IsWithin(item, changed);
}

google::protobuf::Map<std::string, FsList> AdoptedFs(
    const Config& running, const Config& desired,
    const google::protobuf::RepeatedPtrField<std::string>& changed) {
  const auto is_changed = [&](const std::string& item) {
    return std::any_of(changed.begin(), changed.end(),
                       [&](const std::string& field) { return IsOfItem(field, item); });
  };
  google::protobuf::Map<std::string, FsList> adopted;
  for (const auto& [item, fs] : FsItemsOf(running)) {
    if (!is_changed(item)) *adopted[fs.type].add_entries() = fs.fs;
  }
  for (const auto& [item, fs] : FsItemsOf(desired)) {
    if (is_changed(item)) *adopted[fs.type].add_entries() = fs.fs;
  }
  return adopted;
}

DiskRoom::DiskRoom(const Scene& scene)
    : scene_(scene),
      domain_(scene.observed.domain),
      before_(FsItemsOf(domain_.live)),
      after_(FsItemsOf(scene.desired)) {
  if (!scene.observed.guest.has_value()) return;
  for (const agent::DriveState& drive : scene.observed.guest->drives()) {
    seen_[drive.serial()] = &drive;
  }
}

const agent::DriveState* DiskRoom::Seen(const std::string& serial) const {
  const auto found = seen_.find(serial);
  return found == seen_.end() ? nullptr : found->second;
}

bool DiskRoom::Runs(const std::vector<std::string>& drives) const {
  return std::all_of(drives.begin(), drives.end(),
                     [&](const std::string& drive) { return HasDrive(domain_.live, drive); });
}

Way DiskRoom::Of(const FieldChange& change) const {
  // Nobody knows of a guest that does not answer what it would make of it.
  if (!scene_.observed.guest.has_value()) return AtRestart(change.reason);
  if (seen_.empty()) return AtRestart(kKnowsNoDrives);
  if (!IsWithin(change.field, "fs")) {
    if (!domain_.ports.has_value()) return AtRestart(change.reason);
    return change.field == kRootDisk ? Growing(kRootDiskSerial) : OfDrive(change);
  }
  for (const auto* items : {&before_, &after_}) {
    for (const auto& [item, unused] : *items) {
      if (!IsOfItem(change.field, item)) continue;
      Way way = OfFilesystem(item);
      if (way.what == Way::kLive) continue;
      if (way.reason.empty()) way.reason = change.reason;
      return way;
    }
  }
  return {Way::kLive, ""};
}

Way DiskRoom::OfDrive(const FieldChange& change) const {
  for (const Config* config : {&scene_.desired, &domain_.live}) {
    for (const auto& [name, drive] : config->drives()) {
      const std::string item = absl::StrCat("drives.", name);
      if (change.field == item) {
        return HasDrive(domain_.live, name) ? Unplugging(name) : WayToPlug(scene_, item);
      }
      if (change.field == absl::StrCat(item, ".size")) return Growing(DriveSerial(name));
    }
  }
  return AtRestart(change.reason);
}

Way DiskRoom::Unplugging(const std::string& drive) const {
  for (const auto& [item, fs] : before_) {
    const std::vector<std::string> drives = fs.Drives();
    if (std::find(drives.begin(), drives.end(), drive) == drives.end()) continue;
    if (Way way = OfFilesystem(item); way.what != Way::kLive) return way;
  }
  const agent::DriveState* const seen = Seen(DriveSerial(drive));
  if (seen == nullptr) return AtRestart("the guest's kernel does not see the drive");
  if (seen->used().empty() || seen->idle()) return {Way::kLive, ""};
  return AtRestart(absl::StrCat("in use: ", ToUtf8(seen->used())));
}

Way DiskRoom::Growing(const std::string& serial) const {
  const agent::DriveState* const seen = Seen(serial);
  if (seen == nullptr) return AtRestart("the guest's kernel does not see the drive");
  if (seen->cannot_grow().empty()) return {Way::kLive, ""};
  return AtRestart(ToUtf8(seen->cannot_grow()));
}

// Without a reason: that of the field.
Way DiskRoom::OfFilesystem(const std::string& item) const {
  const auto before = before_.find(item);
  const auto after = after_.find(item);
  const FsItem& any = before != before_.end() ? before->second : after->second;
  if (any.type == "zfs") return AtRestart("pools of zfs are set up while the guest boots");
  if (after == after_.end()) return {Way::kLive, ""};
  if (before != before_.end() && !MovesOnly(before->second, after->second)) return AtRestart("");
  for (const std::string& drive : after->second.Drives()) {
    if (HasDrive(domain_.live, drive)) continue;
    if (!domain_.ports.has_value()) return AtRestart("");
    Way way = WayToPlug(scene_, absl::StrCat("drives.", drive));
    if (way.what != Way::kLive) return way;
  }
  return {Way::kLive, ""};
}

}  // namespace rum
