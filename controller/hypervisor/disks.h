#ifndef RUM_CONTROLLER_HYPERVISOR_DISKS_H_
#define RUM_CONTROLLER_HYPERVISOR_DISKS_H_

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "controller/hypervisor/connection.h"
#include "controller/hypervisor/domain_xml.h"
#include "controller/hypervisor/hypervisor.h"
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
  std::set<std::string> used;         // paths in any definition, persistent or live
  bool running = false;               // nothing is resized then
  std::string image;                  // what a new root disk is made from; empty: none was expected
  std::set<std::string> image_files;  // on which of these a disk without a definition may stand
  Fresh fresh = Fresh::kNothing;
};

// The volumes of one machine.
class Disks {
 public:
  Disks(MachineIdentity machine, ConnectionFacts connection, Volumes volumes);

  // Makes what `config` asks for and is not there; sizes in `config` become true ones where a
  // volume is larger.
  absl::StatusOr<DiskSet> Make(const PresentDisks& present, const std::string& agent_binary,
                               Config* config);
  // For Fresh::kDiskAndDrives, once the new definition is there: deletes all of the machine's
  // drives, also those that `config` no longer names, and makes those of `config` anew under their
  // old names. What is missing when this fails is made by the next Make().
  absl::Status RenewDrives(const Config& config);
  // Deletes what Make() made for a definition that did not come about.
  void TakeBack(const DiskSet& disks);
  // A root disk is there, with or without a definition.
  absl::StatusOr<bool> HasRoot();
  // Deletes roots, seeds and half-made copies that no definition points to. Drives stay: they may
  // hold work.
  absl::Status RemoveUnused(const std::set<std::string>& used);
  // Deletes all of the machine's volumes, and the pool when it is empty then; says what.
  absl::StatusOr<std::vector<std::string>> RemoveAll();

 private:
  absl::Status MakeRoot(const PresentDisks& present, Config* config, DiskSet* disks);
  absl::Status NewRoot(const PresentDisks& present, const Config& config, DiskSet* disks);
  absl::StatusOr<std::string> CopyOf(const struct BaseImage& base, uint64_t capacity,
                                     const std::string& nonce);
  absl::Status MakeSeed(const PresentDisks& present, const std::string& agent_binary,
                        const Config& config, DiskSet* disks);
  absl::Status MakeDrives(const PresentDisks& present, Config* config, DiskSet* disks);

  MachineIdentity machine_;
  ConnectionFacts connection_;
  Volumes volumes_;
  std::vector<VolumeFacts> all_;  // as Make() found them
};

// Paths that stand for disks with libvirt's test driver, which has no files.
DiskSet NominalDisks(const MachineIdentity& machine, const PresentDisks& present,
                     const Config& config);

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_DISKS_H_
