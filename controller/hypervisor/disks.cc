#include "controller/hypervisor/disks.h"

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "controller/hypervisor/definition.h"
#include "controller/hypervisor/pool_disks.h"
#include "controller/hypervisor/seed.h"
#include "controller/hypervisor/volume_names.h"

namespace rum {
namespace {

// Gives names to what is not there: libvirt's test driver has no files.
class NominalDisks : public Disks {
 public:
  explicit NominalDisks(const MachineIdentity& machine)
      : Disks(std::make_unique<Ledger>()), machine_(machine) {}

  absl::StatusOr<bool> NeedsImage(bool, Fresh) override { return false; }
  absl::StatusOr<DiskSet> Make(const PresentDisks& present, const std::string& agent_binary,
                               Config* config) override;
  void TakeBack(const DiskSet&) override {}
  void RemoveUnused(const std::set<std::string>&, bool) override {}
  Removal RemoveAll() override { return {}; }

 private:
  std::string Path(VolumeKind kind, const std::string& part) const {
    return absl::StrCat("/rum/", VolumeName(machine_.domain_name(), kind, part));
  }

  const MachineIdentity machine_;
};

absl::StatusOr<DiskSet> NominalDisks::Make(const PresentDisks& present, const std::string&,
                                           Config* config) {
  const Config before = present.definition.has_value() ? present.definition->config : Config();
  // What was larger has not become smaller; what runs is as it is.
  const auto fit = [&](const std::string& path, uint64_t there, uint64_t wanted) {
    return present.in_use.count(path) > 0 ? wanted : std::max(there, wanted);
  };
  DiskSet disks;
  disks.nonce = present.definition.has_value() ? present.definition->disk_nonce : NewDiskNonce();
  disks.root_path = present.places.root;
  if (disks.root_path.empty()) disks.root_path = Path(VolumeKind::kRoot, disks.nonce);
  Resources* resources = config->mutable_resources();
  resources->set_disk(fit(disks.root_path, before.resources().disk(), resources->disk()));
  for (auto& [name, drive] : *config->mutable_drives()) {
    const auto now = present.places.drives.find(name);
    std::string& path = disks.drive_paths[name];
    path = now == present.places.drives.end() ? Path(VolumeKind::kDrive, DriveSerial(name))
                                              : now->second;
    const auto there = before.drives().find(name);
    if (there != before.drives().end())
      drive.set_size(fit(path, there->second.size(), drive.size()));
  }
  disks.seed_path =
      Path(VolumeKind::kSeed, SeedHash(SeedFiles({machine_, *config, disks.nonce, ""})));
  return disks;
}

}  // namespace

std::string NewDiskNonce() {
  std::random_device random;
  return absl::StrFormat("%08x%08x", random(), random());
}

std::unique_ptr<Disks> DisksIn(const MachineIdentity& machine, const ConnectionHandle& connection,
                               const ConnectionFacts& facts) {
  if (facts.kind == ConnectionKind::kTest) return std::make_unique<NominalDisks>(machine);
  return std::make_unique<PoolDisks>(machine, connection, facts);
}

}  // namespace rum
