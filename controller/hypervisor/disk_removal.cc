// Of PoolDisks: what deletes volumes.
#include <algorithm>
#include <filesystem>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/hypervisor/pool_disks.h"
#include "controller/hypervisor/standing.h"

namespace rum {
namespace {

const char* NameOf(std::optional<OwnVolume> volume) {
  if (volume.has_value() && volume->kind == VolumeKind::kDrive) return "drive ";
  return volume.has_value() && volume->kind == VolumeKind::kSeed ? "seed " : "disk ";
}

}  // namespace

void PoolDisks::TakeBack(const DiskSet& disks) {
  if (!Open(false).ok()) return;
  std::vector<VolumeFacts> made;
  for (const std::string& name : disks.made) {
    VolumeFacts volume;
    volume.name = name;
    volume.path = volumes_->PathOf(name);
    made.push_back(std::move(volume));
  }
  // What cannot be deleted now goes with a later RemoveUnused() or RemoveAll().
  RemoveThese(made);
}

Removal PoolDisks::RemoveThese(const std::vector<VolumeFacts>& wanted) {
  Removal removal;
  if (wanted.empty()) return removal;
  std::map<std::string, const VolumeFacts*> volumes;
  std::set<std::string> paths;
  std::set<std::string> own;
  for (const VolumeFacts& volume : wanted) {
    volumes[Real(volume.path)] = &volume;
    paths.insert(Real(volume.path));
  }
  for (const std::string& path : ledger()->volumes()) own.insert(Real(path));
  Uses uses = volumes_->AskUses(connection_.remote);
  for (;;) {
    const Removable judged = JudgeRemoval(paths, own, uses);
    for (const auto& [path, why] : judged.stay) {
      if (judged.go.empty()) {
        removal.kept.push_back(absl::StrCat(volumes[path]->path, ": ", why));
      }
    }
    if (judged.go.empty()) return removal;
    // One after the other: what cannot be deleted stands on what is below it still.
    const std::string path = judged.go.front();
    paths.erase(path);
    const VolumeFacts& volume = *volumes[path];
    absl::Status deleted = volumes_->Delete(volume.name);
    if (!deleted.ok()) {
      removal.kept.push_back(absl::StrCat(volume.path, ": ", std::string(deleted.message())));
      continue;
    }
    ledger()->ForgetVolume(volume.path).IgnoreError();  // it names what is not there: no harm
    removal.removed.push_back(
        absl::StrCat(NameOf(ParseVolumeName(machine_.domain_name(), volume.name)), volume.path));
    std::vector<Use>* all = &uses.all;
    all->erase(std::remove_if(all->begin(), all->end(),
                              [&](const Use& use) { return use.file && use.by == path; }),
               all->end());
  }
}

void PoolDisks::RemoveUnused(const std::set<std::string>& used, bool drives) {
  if (!Open(false).ok()) return;
  absl::StatusOr<std::vector<VolumeFacts>> all = volumes_->List();
  if (!all.ok()) return;  // the next time
  std::vector<VolumeFacts> wanted;
  for (const VolumeFacts& volume : *all) {
    const auto parsed = ParseVolumeName(machine_.domain_name(), volume.name);
    const bool drive = parsed.has_value() && parsed->kind == VolumeKind::kDrive;
    if (used.count(volume.path) > 0) continue;
    if (IsOwn(volume) && (drives || !drive)) wanted.push_back(volume);
  }
  RemoveThese(wanted);
}

Removal PoolDisks::RemoveAll() {
  Removal removal;
  if (const absl::Status open = Open(false); !open.ok()) {
    const std::string why(open.message());
    const std::set<std::string> left = ledger()->volumes();
    for (const std::string& path : left) removal.kept.push_back(absl::StrCat(path, ": ", why));
    if (left.empty() && !absl::IsNotFound(open)) {
      removal.kept.push_back(absl::StrCat("its disks: ", why));
    }
    return removal;
  }
  absl::StatusOr<std::vector<VolumeFacts>> all = volumes_->List();
  if (!all.ok()) {
    removal.kept.push_back(absl::StrCat("its disks: ", std::string(all.status().message())));
    return removal;
  }
  std::vector<VolumeFacts> wanted;
  std::set<std::string> lost = ledger()->volumes();
  for (const VolumeFacts& volume : *all) {
    lost.erase(volume.path);
    // What people put beside is named too.
    const bool beside = absl::StartsWith(volume.name, machine_.domain_name() + ".");
    if (beside || IsOwn(volume)) wanted.push_back(volume);
  }
  removal = RemoveThese(wanted);
  for (const std::string& path : lost) {
    std::error_code error;
    if (!connection_.remote && std::filesystem::exists(path, error)) {
      removal.kept.push_back(absl::StrCat(path, ": it is no volume of the storage pool rum now"));
    } else {
      ledger()->ForgetVolume(path).IgnoreError();
    }
  }
  const absl::StatusOr<bool> gone = volumes_->RemovePoolIfEmpty();
  if (!gone.ok()) {
    removal.kept.push_back(
        absl::StrCat("storage pool rum: ", std::string(gone.status().message())));
  } else if (*gone) {
    removal.removed.push_back("storage pool rum");
  }
  return removal;
}

}  // namespace rum
