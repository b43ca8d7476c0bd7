// Of LibvirtHypervisor: what becomes of the disks of a machine while it runs.
#include <libvirt/libvirt.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "controller/hypervisor/libvirt_hypervisor.h"
#include "controller/hypervisor/live_domain.h"
#include "controller/hypervisor/live_edit.h"
#include "state/size.h"

namespace rum {
namespace {

// The name comes first: what is plugged in under a serial alone would be a drive without one.
absl::Status Plug(virDomainPtr domain, const FoundDomain& found, const std::string& drive) {
  if (found.live->drive_paths.count(drive) > 0) return absl::OkStatus();
  const auto defined = found.persistent->config.drives().find(drive);
  if (defined == found.persistent->config.drives().end()) {
    return absl::AbortedError(absl::StrCat("drive ", drive, " has left the definition meanwhile"));
  }
  const absl::Status noted = NoteLive(
      domain, [&](Config* config) { (*config->mutable_drives())[drive] = defined->second; });
  if (!noted.ok()) return noted;
  const absl::StatusOr<std::string> definition = DefinitionXml(domain);
  if (!definition.ok()) return definition.status();
  const absl::StatusOr<std::string> live = LiveXmlOf(domain);
  if (!live.ok()) return live.status();
  const absl::StatusOr<std::string> disk = DriveToPlug(*definition, *live, drive);
  if (!disk.ok()) return disk.status();
  if (virDomainAttachDeviceFlags(domain, disk->c_str(), VIR_DOMAIN_AFFECT_LIVE) == 0)
    return absl::OkStatus();
  return LibvirtError(absl::StrCat("plugging drive ", drive, " in"));
}

absl::Status Unplug(virDomainPtr domain, const std::string& drive) {
  const auto disk = [&]() -> absl::StatusOr<std::string> {
    const absl::StatusOr<std::string> live = LiveXmlOf(domain);
    if (!live.ok()) return live.status();
    return DriveToUnplug(*live, drive);
  };
  absl::StatusOr<std::string> there = disk();
  if (absl::IsNotFound(there.status())) return absl::OkStatus();
  if (!there.ok()) return there.status();
  // libvirt waits for the guest, though not for ever.
  if (virDomainDetachDeviceFlags(domain, there->c_str(), VIR_DOMAIN_AFFECT_LIVE) != 0)
    return LibvirtError(absl::StrCat("unplugging drive ", drive));
  there = disk();
  if (absl::IsNotFound(there.status())) return absl::OkStatus();
  if (!there.ok()) return there.status();
  return absl::UnavailableError(absl::StrCat("the guest has not let go of drive ", drive, " yet"));
}

// Compared with the size that it has: libvirt makes a disk smaller without a word.
absl::Status Grow(virDomainPtr domain, const FoundDomain& found, const std::string& drive) {
  const Config& defined = found.persistent->config;
  std::string target = found.live->root_target;
  uint64_t wanted = DiskSize(defined.resources().disk());
  if (!drive.empty()) {
    const auto runs = found.live->drive_targets.find(drive);
    const auto next = defined.drives().find(drive);
    if (runs == found.live->drive_targets.end() || next == defined.drives().end())
      return absl::AbortedError(absl::StrCat("drive ", drive, " is gone meanwhile"));
    target = runs->second;
    wanted = DiskSize(next->second.size());
  }
  const std::string what = drive.empty() ? "the root disk" : absl::StrCat("drive ", drive);
  virDomainBlockInfo info;
  if (virDomainGetBlockInfo(domain, target.c_str(), &info, 0) != 0)
    return LibvirtError(absl::StrCat("looking at ", what));
  if (info.capacity >= wanted) return absl::OkStatus();
  if (virDomainBlockResize(domain, target.c_str(), wanted, VIR_DOMAIN_BLOCK_RESIZE_BYTES) == 0)
    return absl::OkStatus();
  return LibvirtError(absl::StrCat("growing ", what));
}

}  // namespace

absl::Status LibvirtHypervisor::ChangeDisk(const MachineIdentity& machine,
                                           const DiskChange& change) {
  absl::StatusOr<ConnectionHandle> connection = connection_.Get();
  if (!connection.ok()) return connection.status();
  std::lock_guard<std::mutex> lock(changing_);
  return connection_.Judge(ChangeDiskNow(*connection, machine, change));
}

absl::Status LibvirtHypervisor::ChangeDiskNow(const ConnectionHandle& connection,
                                              const MachineIdentity& machine,
                                              const DiskChange& change) {
  absl::StatusOr<FoundDomain> found = Find(connection, machine);
  if (!found.ok()) return found.status();
  if (!found->live.has_value()) return absl::FailedPreconditionError("the machine is off");
  if (!found->persistent.has_value())
    return absl::FailedPreconditionError("the machine is not defined");
  virDomainPtr domain = found->domain.get();
  switch (change.what) {
    case DiskChange::kPlug:
      return Plug(domain, *found, change.drive);
    case DiskChange::kUnplug:
      return Unplug(domain, change.drive);
    case DiskChange::kGrow:
      return Grow(domain, *found, change.drive);
    case DiskChange::kFilesystems:
      return NoteLive(domain, [&](Config* config) { *config->mutable_fs() = change.filesystems; });
  }
  return absl::InvalidArgumentError("no change of a disk");
}

}  // namespace rum
