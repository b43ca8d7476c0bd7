#include "controller/storage.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "controller/hypervisor/definition.h"
#include "state/item_name.h"
#include "state/storage_rules.h"

namespace rum {

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
