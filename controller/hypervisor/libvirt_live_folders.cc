// Of LibvirtHypervisor: the host's folders that come and go while a machine runs.
#include <libvirt/libvirt.h>

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "controller/hypervisor/definition.h"
#include "controller/hypervisor/libvirt_hypervisor.h"
#include "controller/hypervisor/live_domain.h"
#include "controller/hypervisor/live_edit.h"

namespace rum {
namespace {

using Mounts = google::protobuf::RepeatedPtrField<Mount>;

// One of a tag, and one at a target, in the order of the definition for the next start.
void AddMount(const Mount& mount, const Config& next, Mounts* mounts) {
  Mounts others;
  for (const Mount& other : *mounts) {
    const bool replaced = MountTag(other) == MountTag(mount) || other.target() == mount.target();
    if (!replaced) *others.Add() = other;
  }
  *others.Add() = mount;
  const auto place = [&](const Mount& one) {
    return std::find_if(next.mounts().begin(), next.mounts().end(),
                        [&](const Mount& other) { return MountTag(other) == MountTag(one); }) -
           next.mounts().begin();
  };
  std::stable_sort(others.begin(), others.end(),
                   [&](const Mount& a, const Mount& b) { return place(a) < place(b); });
  mounts->Swap(&others);
}

void NoteMounts(const FolderChange& change, const Config& next, Mounts* mounts) {
  Mounts others;
  for (const Mount& mount : *mounts) {
    if (change.tags.count(MountTag(mount)) == 0) *others.Add() = mount;
  }
  mounts->Swap(&others);
  for (const Mount& mount : change.mounts) AddMount(mount, next, mounts);
}

absl::Status Detach(virDomainPtr domain, const std::string& tag) {
  const auto folder = [&]() -> absl::StatusOr<std::string> {
    const absl::StatusOr<std::string> live = LiveXmlOf(domain);
    if (!live.ok()) return live.status();
    return FolderToDetach(*live, tag);
  };
  absl::StatusOr<std::string> there = folder();
  if (absl::IsNotFound(there.status())) return absl::OkStatus();
  if (!there.ok()) return there.status();
  // libvirt waits for the guest, though not for ever.
  if (virDomainDetachDeviceFlags(domain, there->c_str(), VIR_DOMAIN_AFFECT_LIVE) != 0)
    return LibvirtError(absl::StrCat("taking the shared folder ", tag, " out"));
  there = folder();
  if (absl::IsNotFound(there.status())) return absl::OkStatus();
  if (!there.ok()) return there.status();
  return absl::UnavailableError(
      absl::StrCat("the guest has not let go of the shared folder ", tag, " yet"));
}

// What it mounts of the folder is noted last: a folder that nothing speaks of is known again by its
// tag, and one that does not come is nowhere.
absl::Status Attach(virDomainPtr domain, const FoundDomain& found, const std::string& tag) {
  const Config& next = found.persistent->config;
  const auto defined = std::find_if(next.mounts().begin(), next.mounts().end(),
                                    [&](const Mount& mount) { return MountTag(mount) == tag; });
  if (defined == next.mounts().end()) {
    return absl::AbortedError(
        absl::StrCat("the shared folder ", tag, " has left the definition meanwhile"));
  }
  const absl::StatusOr<std::string> definition = DefinitionXml(domain);
  if (!definition.ok()) return definition.status();
  const absl::StatusOr<std::string> live = LiveXmlOf(domain);
  if (!live.ok()) return live.status();
  const absl::StatusOr<std::string> folder = FolderToAttach(*definition, *live, tag);
  if (!folder.ok() && !absl::IsAlreadyExists(folder.status())) return folder.status();
  if (folder.ok()) {
    if (absl::Status gone = Detach(domain, tag); !gone.ok()) return gone;
    if (virDomainAttachDeviceFlags(domain, folder->c_str(), VIR_DOMAIN_AFFECT_LIVE) != 0)
      return LibvirtError(absl::StrCat("sharing ", defined->source()));
  }
  return NoteLive(domain,
                  [&](Config* config) { AddMount(*defined, next, config->mutable_mounts()); });
}

}  // namespace

absl::Status LibvirtHypervisor::ChangeFolder(const MachineIdentity& machine,
                                             const FolderChange& change) {
  std::lock_guard<std::mutex> lock(changing_);
  return connection_.Judge(ChangeFolderNow(machine, change));
}

absl::Status LibvirtHypervisor::ChangeFolderNow(const MachineIdentity& machine,
                                                const FolderChange& change) {
  absl::StatusOr<FoundDomain> found = FindRunning(machine);
  if (!found.ok()) return found.status();
  if (!found->persistent.has_value())
    return absl::FailedPreconditionError("the machine is not defined");
  virDomainPtr domain = found->domain.get();
  switch (change.what) {
    case FolderChange::kAttach:
      return Attach(domain, *found, change.tag);
    case FolderChange::kDetach:
      return Detach(domain, change.tag);
    case FolderChange::kMounts:
      return NoteLive(domain, [&](Config* config) {
        NoteMounts(change, found->persistent->config, config->mutable_mounts());
      });
  }
  return absl::InvalidArgumentError("no change of a shared folder");
}

// libvirtd 9.0 dies of a folder that it attaches where it has no cgroup for the machine: it puts
// virtiofsd into that, https://gitlab.com/libvirt/libvirt, qemuVirtioFSSetupCgroup().
Sharing LibvirtHypervisor::SharingOf(const FoundDomain& found) {
  if (connection_.facts().kind != ConnectionKind::kSystem) return Sharing::kNotBy9p;
  const Sharing sharing = found.live->room.sharing;
  if (sharing != Sharing::kLive) return sharing;
  int parameters = 0;
  const std::string scheduler =
      TakeText(virDomainGetSchedulerType(found.domain.get(), &parameters));
  return scheduler.empty() ? Sharing::kNoCgroup : sharing;
}

}  // namespace rum
