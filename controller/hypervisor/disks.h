#ifndef RUM_CONTROLLER_HYPERVISOR_DISKS_H_
#define RUM_CONTROLLER_HYPERVISOR_DISKS_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "controller/hypervisor/connection.h"
#include "controller/hypervisor/disk_places.h"
#include "controller/hypervisor/domain_xml.h"
#include "controller/hypervisor/hypervisor.h"
#include "controller/hypervisor/ledger.h"
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

// The mark of a new root disk: 16 hex digits.
std::string NewDiskNonce();

// The disks of one machine in one libvirt, and what is written down of them.
class Disks {
 public:
  explicit Disks(std::unique_ptr<Ledger> ledger) : ledger_(std::move(ledger)) {}
  virtual ~Disks() = default;
  Disks(const Disks&) = delete;
  Disks& operator=(const Disks&) = delete;
  Ledger* ledger() const { return ledger_.get(); }

  // Returns whether a root disk is to be made from an image: `fresh` asks for one, or there is
  // none. `defined`: a definition has one. FailedPrecondition: it has none, and somebody uses the
  // disk.
  virtual absl::StatusOr<bool> NeedsImage(bool defined, Fresh fresh) = 0;
  // Makes what `config` asks for and is not there; sizes in `config` become true ones where a disk
  // is larger. For Fresh::kDiskAndDrives all drives are made anew, under other names.
  virtual absl::StatusOr<DiskSet> Make(const PresentDisks& present, const std::string& agent_binary,
                                       Config* config) = 0;
  // Deletes what Make() made for a definition that did not come about.
  virtual void TakeBack(const DiskSet& disks) = 0;
  // Deletes roots, seeds and half-made copies that are none of `used` and that nobody stands on, as
  // far as that is sure; with `drives` also drives, which otherwise stay, as they may hold work.
  virtual void RemoveUnused(const std::set<std::string>& used, bool drives) = 0;
  // Deletes all of the machine's that nobody stands on, and the place for them when it is empty
  // then.
  virtual Removal RemoveAll() = 0;

 private:
  const std::unique_ptr<Ledger> ledger_;
};

// Gives the disks of a machine in the libvirt of a connection.
using DiskSource = std::function<std::unique_ptr<Disks>(
    const MachineIdentity& machine, const ConnectionHandle& connection, const ConnectionFacts&)>;

// A DiskSource: volumes of rum's pool; with libvirt's test driver, which has no files, paths that
// stand for disks, of which nothing is written down.
std::unique_ptr<Disks> DisksIn(const MachineIdentity& machine, const ConnectionHandle& connection,
                               const ConnectionFacts& facts);

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_DISKS_H_
