#include "controller/hypervisor/disk_places.h"

#include "absl/strings/str_cat.h"

namespace rum {
namespace {

absl::StatusOr<std::string> PlaceNow(const std::string& disk, const std::string& defined,
                                     const std::string& runs,
                                     const std::map<std::string, LiveDisk>& live_disks) {
  const auto image = live_disks.find(runs);
  if (image != live_disks.end() && image->second.job) {
    return absl::AbortedError(
        absl::StrCat(disk, ": a block job works on its image ", runs,
                     " (virsh blockjob): rum writes no definition until that is over"));
  }
  const bool newer = image != live_disks.end() && image->second.chain.count(defined) > 0;
  if (defined == runs || newer) return runs;
  return absl::FailedPreconditionError(absl::StrCat(
      disk, " is ", runs, " in the running machine and ", defined,
      " in its definition: rum writes no definition until both are the same (virsh edit), or the "
      "machine is off, and then the definition counts"));
}

absl::Status CheckPlace(const std::string& disk, const std::string& place) {
  if (!place.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      disk,
      " is neither a file nor a block device in libvirt's definition: rum cannot follow it, "
      "and leaves the definition alone"));
}

}  // namespace

absl::StatusOr<DiskPlaces> PlacesNow(const std::optional<DomainFacts>& persistent,
                                     const std::optional<DomainFacts>& live,
                                     const std::map<std::string, LiveDisk>& live_disks) {
  DiskPlaces places;
  const std::optional<DomainFacts>& facts = persistent.has_value() ? persistent : live;
  if (!facts.has_value()) return places;
  places.root = facts->root_path;
  places.drives = facts->drive_paths;
  if (live.has_value()) {
    absl::StatusOr<std::string> root =
        PlaceNow("the root disk", places.root, live->root_path, live_disks);
    if (!root.ok()) return root.status();
    places.root = *std::move(root);
    for (const auto& [name, runs] : live->drive_paths) {
      // One that only runs has left the definition, but may come back.
      const std::string defined = places.drives.emplace(name, runs).first->second;
      absl::StatusOr<std::string> now =
          PlaceNow(absl::StrCat("the disk of drive ", name), defined, runs, live_disks);
      if (!now.ok()) return now.status();
      places.drives[name] = *std::move(now);
    }
  }
  absl::Status known = CheckPlace("the root disk", places.root);
  for (const auto& [name, place] : places.drives) {
    known.Update(CheckPlace(absl::StrCat("the disk of drive ", name), place));
  }
  if (!known.ok()) return known;
  return places;
}

}  // namespace rum
