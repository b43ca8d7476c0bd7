#include "controller/storage.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "controller/hypervisor/definition.h"
#include "state/item_name.h"

namespace rum {

namespace {

// A pool's name for who gave none: "/my/data" is "rum-my-data".
std::string PoolAt(const std::string& target) {
  std::string name = "rum";
  for (const char c : target) {
    const char plain = absl::ascii_isalnum(c) ? c : '-';
    if (plain != '-' || name.back() != '-') name += plain;
  }
  return name;
}

}  // namespace

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
      if (type == "zfs") volume.set_pool(fs.pool().empty() ? PoolAt(fs.target()) : fs.pool());
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
