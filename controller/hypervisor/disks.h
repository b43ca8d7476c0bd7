#ifndef RUM_CONTROLLER_HYPERVISOR_DISKS_H_
#define RUM_CONTROLLER_HYPERVISOR_DISKS_H_

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "controller/hypervisor/backing_chain.h"
#include "controller/hypervisor/connection.h"
#include "controller/hypervisor/disk_places.h"
#include "controller/hypervisor/domain_xml.h"
#include "controller/hypervisor/hypervisor.h"
#include "controller/hypervisor/ledger.h"
#include "controller/hypervisor/volume_names.h"
#include "controller/hypervisor/volumes.h"
#include "state/identity.h"

namespace rum {

// What a definition points to.
struct DiskSet {
  std::string nonce;
  std::string base_path;  // see DomainParts
  std::string base_mark;
  std::string root_path;
  std::string seed_path;
  std::map<std::string, std::string> drive_paths;
  std::vector<std::string> made;  // volumes that were not there before
};

// What there is already.
struct PresentDisks {
  std::optional<DomainFacts>
      definition;                     // whose disk is kept; nullopt: none, or a new disk is wanted
  DiskPlaces places;                  // where the disks are now
  std::set<std::string> used;         // paths in any definition, persistent or live
  std::set<std::string> in_use;       // disks of the running machine: they are not resized
  std::string image;                  // what a new root disk is made from; empty: none was expected
  std::set<std::string> image_files;  // on which of these a disk without a definition may stand
  Fresh fresh = Fresh::kNothing;
  // The size of a disk's image that is no volume of rum's pool, as the domain has it; 0: it cannot
  // be had.
  std::function<uint64_t(const std::string& path)> size_of;
};

// The volumes of one machine.
class Disks {
 public:
  // `ledger` outlives it.
  Disks(MachineIdentity machine, ConnectionFacts connection, Volumes volumes, Ledger* ledger);

  // Makes what `config` asks for and is not there; sizes in `config` become true ones where a
  // volume is larger. For Fresh::kDiskAndDrives all drives are made anew, under other names.
  absl::StatusOr<DiskSet> Make(const PresentDisks& present, const std::string& agent_binary,
                               Config* config);
  // Deletes what Make() made for a definition that did not come about.
  void TakeBack(const DiskSet& disks);
  // A root disk is there without a definition. FailedPrecondition: and somebody uses it.
  absl::StatusOr<bool> HasRoot();
  // Deletes roots, seeds and half-made copies that are none of `used` and that nobody stands on, as
  // far as that is sure; with `drives` also drives, which otherwise stay, as they may hold work.
  void RemoveUnused(const std::set<std::string>& used, bool drives);
  // Deletes all of the machine's volumes that nobody stands on, and the pool when it is empty then.
  Removal RemoveAll();

 private:
  absl::StatusOr<const VolumeFacts*> OrphanRoot();
  absl::Status CheckFree(const std::string& what, const VolumeFacts& volume);
  absl::Status MakeRoot(const PresentDisks& present, Config* config, DiskSet* disks);
  absl::Status TakeUpRoot(const PresentDisks& present, const VolumeFacts& root, DiskSet* disks);
  absl::Status NewRoot(const PresentDisks& present, const Config& config, DiskSet* disks);
  absl::StatusOr<std::string> CopyOf(const struct BaseImage& base, uint64_t capacity,
                                     const std::string& root, DiskSet* disks);
  absl::Status MakeSeed(const PresentDisks& present, const std::string& agent_binary,
                        const Config& config, DiskSet* disks);
  absl::Status NoteOldDrives(const PresentDisks& present);
  absl::Status MakeDrives(const PresentDisks& present, Config* config, DiskSet* disks);
  absl::StatusOr<std::string> DrivePlace(const PresentDisks& present, const std::string& drive);
  absl::Status Fit(const PresentDisks& present, const std::string& what, const std::string& remedy,
                   const std::string& path, uint64_t* size);
  std::string FreeName(VolumeKind kind, const std::string& part) const;
  // Makes a volume by `make`, which is recorded before.
  absl::StatusOr<std::string> MakeVolume(const std::string& name, DiskSet* disks,
                                         const std::function<absl::StatusOr<std::string>()>& make);
  bool IsOwn(const VolumeFacts& volume) const { return ledger_->HasVolume(volume.path); }
  std::string Real(const std::string& path) const { return RealPath(path, connection_.remote); }
  Removal RemoveThese(const std::vector<VolumeFacts>& wanted);

  MachineIdentity machine_;
  ConnectionFacts connection_;
  Volumes volumes_;
  Ledger* ledger_;
  std::vector<VolumeFacts> all_;  // as Make() found them
};

// Paths that stand for disks with libvirt's test driver, which has no files.
DiskSet NominalDisks(const MachineIdentity& machine, const PresentDisks& present,
                     const Config& config);

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_DISKS_H_
