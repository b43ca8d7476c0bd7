#ifndef RUM_CONTROLLER_HYPERVISOR_POOL_DISKS_H_
#define RUM_CONTROLLER_HYPERVISOR_POOL_DISKS_H_

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "controller/hypervisor/backing_chain.h"
#include "controller/hypervisor/disks.h"
#include "controller/hypervisor/volume_names.h"
#include "controller/hypervisor/volumes.h"

namespace rum {

// The folder of rum's pool in that libvirt.
std::string DiskFolder(const ConnectionFacts& connection);

// Keeps the disks of a machine as volumes of rum's pool.
class PoolDisks : public Disks {
 public:
  PoolDisks(const MachineIdentity& machine, ConnectionHandle connection, ConnectionFacts facts);

  absl::StatusOr<bool> NeedsImage(bool defined, Fresh fresh) override;
  absl::StatusOr<DiskSet> Make(const PresentDisks& present, const std::string& agent_binary,
                               Config* config) override;
  void TakeBack(const DiskSet& disks) override;
  void RemoveUnused(const std::set<std::string>& used, bool drives) override;
  Removal RemoveAll() override;

 private:
  // Opens the pool as it is now. NotFound: there is none, and `make` is false.
  absl::Status Open(bool make);
  absl::StatusOr<bool> HasRoot();
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
  bool IsOwn(const VolumeFacts& volume) const { return ledger()->HasVolume(volume.path); }
  std::string Real(const std::string& path) const { return RealPath(path, connection_.remote); }
  Removal RemoveThese(const std::vector<VolumeFacts>& wanted);

  const MachineIdentity machine_;
  const ConnectionHandle handle_;
  const ConnectionFacts connection_;
  std::optional<Volumes> volumes_;  // after Open()
  std::vector<VolumeFacts> all_;    // as Make() found them
};

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_POOL_DISKS_H_
