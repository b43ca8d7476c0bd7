// Of LibvirtHypervisor: what makes disks, seeds, networks and definitions.
#include <google/protobuf/util/message_differencer.h>
#include <libvirt/libvirt.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/hypervisor/definition.h"
#include "controller/hypervisor/libvirt_hypervisor.h"
#include "controller/hypervisor/networks.h"

namespace rum {
namespace {

bool SameMeaning(const DomainFacts& a, const DomainFacts& b) {
  return google::protobuf::util::MessageDifferencer::Equals(a.config, b.config) &&
         a.disk_nonce == b.disk_nonce && a.base_mark == b.base_mark && a.root_path == b.root_path &&
         a.seed_path == b.seed_path && a.drive_paths == b.drive_paths && a.networks == b.networks &&
         a.started_default == b.started_default && a.owner == b.owner;
}

// What no machine of this connection can have, though the file may ask for it.
absl::Status IsPossible(const Config& config, const ConnectionFacts& facts) {
  if (facts.kind == ConnectionKind::kSession && config.network().interfaces_size() > 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("network.interfaces: ", facts.uri, " cannot join networks; use the system's"));
  }
  for (const Mount& mount : config.mounts()) {
    // Its arguments are a list with commas: it would share another folder, or none.
    if (facts.kind == ConnectionKind::kSystem && absl::StrContains(mount.source(), ',')) {
      return absl::FailedPreconditionError(
          absl::StrCat("mounts[", mount.target(), "].source: ", mount.source(),
                       ": libvirt's virtiofs shares no folder with a comma in its path"));
    }
  }
  return absl::OkStatus();
}

// vhost-vsock of the kernel; QEMU opens it as libvirt's user.
bool HostHasVsock(ConnectionKind kind) {
  return access("/dev/vhost-vsock", kind == ConnectionKind::kSystem ? F_OK : R_OK | W_OK) == 0;
}

}  // namespace

std::string DiskFolder(const ConnectionFacts& connection) {
  if (connection.kind == ConnectionKind::kSystem && std::getenv("RUM_DATA_DIR") == nullptr) {
    return "/var/lib/libvirt/images/rum";
  }
  return DataDir() + "/disks";
}

absl::Status LibvirtHypervisor::Define(const MachineIdentity& machine, const Config& config,
                                       Fresh fresh, const Onlooker& onlooker) {
  absl::StatusOr<ConnectionHandle> connection = connection_.Get();
  if (!connection.ok()) return connection.status();
  const absl::StatusOr<bool> needed = NeedsImage(*connection, machine, fresh);
  if (!needed.ok()) return connection_.Judge(needed.status());
  FetchedImage image;
  if (*needed) {
    // Before the lock: a download may take long, and no other machine waits for it.
    absl::StatusOr<FetchedImage> fetched = images_.Fetch(config.image(), onlooker);
    if (!fetched.ok()) return fetched.status();
    image = *std::move(fetched);
  }
  std::lock_guard<std::mutex> lock(changing_);
  return connection_.Judge(DefineNow(*connection, machine, config, fresh, image.path));
}

// For a new root disk; one whose definition somebody took away is none.
absl::StatusOr<bool> LibvirtHypervisor::NeedsImage(const ConnectionHandle& connection,
                                                   const MachineIdentity& machine, Fresh fresh) {
  if (IsTest()) return false;
  if (fresh != Fresh::kNothing) return true;
  absl::StatusOr<FoundDomain> found = Find(connection, machine);
  if (!found.ok()) return found.status();
  if (found->persistent.has_value() || found->live.has_value()) return false;
  const ConnectionFacts facts = connection_.facts();
  absl::StatusOr<Volumes> volumes = Volumes::Open(connection, DiskFolder(facts), false);
  if (absl::IsNotFound(volumes.status())) return true;
  if (!volumes.ok()) return volumes.status();
  const absl::StatusOr<bool> has = Disks(machine, facts, *std::move(volumes)).HasRoot();
  if (!has.ok()) return has.status();
  return !*has;
}

absl::StatusOr<std::set<std::string>> LibvirtHypervisor::ImagesInUse() {
  std::set<std::string> images;
  absl::StatusOr<ConnectionHandle> connection = connection_.Get();
  if (!connection.ok()) return connection.status();
  const ConnectionFacts facts = connection_.facts();
  if (IsTest() || facts.remote) return images;  // another host has files of its own
  absl::StatusOr<Volumes> volumes = Volumes::Open(*connection, DiskFolder(facts), false);
  if (absl::IsNotFound(volumes.status())) return images;
  if (!volumes.ok()) return connection_.Judge(volumes.status());
  absl::StatusOr<std::vector<VolumeFacts>> all = volumes->List();
  if (!all.ok()) return connection_.Judge(all.status());
  for (const VolumeFacts& volume : *all) {
    if (!volume.backing_path.empty()) images.insert(volume.backing_path);
  }
  return images;
}

absl::Status LibvirtHypervisor::DefineNow(const ConnectionHandle& connection,
                                          const MachineIdentity& machine, const Config& config,
                                          Fresh fresh, const std::string& image) {
  absl::StatusOr<FoundDomain> found = Find(connection, machine);
  if (!found.ok()) return found.status();
  if (fresh != Fresh::kNothing && found->running) {
    return absl::FailedPreconditionError("a new root disk needs the machine to be off");
  }
  const ConnectionFacts facts = connection_.facts();
  if (absl::Status possible = IsPossible(config, facts); !possible.ok()) return possible;
  PresentDisks present;
  if (fresh == Fresh::kNothing) {
    present.definition = found->persistent.has_value() ? found->persistent : found->live;
  }
  present.used = found->Paths();
  present.running = found->running;
  present.fresh = fresh;
  present.image = image;
  if (!present.definition.has_value() && image.empty() && !IsTest()) {
    present.image_files = images_.FilesOf(config.image());
  }
  std::optional<Config> old;
  // Volumes tell their sizes themselves, to MakeDisks().
  if (present.definition.has_value()) {
    old = present.definition->config;
    if (!IsTest()) old = WithSizesOf(Config(), *std::move(old));
    if (IsTest() && found->live.has_value())
      old = WithSizesOf(found->live->config, *std::move(old));
  }
  Config definition = DefinitionFor(config, old);
  absl::StatusOr<DiskSet> disks = MakeDisks(connection, machine, present, &definition);
  absl::Status result = disks.ok()
                            ? WriteDefinition(connection, machine, definition, *disks, *found)
                            : disks.status();
  if (!result.ok() && disks.ok()) TakeBackDisks(connection, machine, *disks);
  if (result.ok() && fresh == Fresh::kDiskAndDrives) {
    result = RenewDrives(connection, machine, definition);
  }
  const absl::Status tidied = RemoveUnused(connection, machine);
  return result.ok() ? tidied : result;
}

absl::StatusOr<DiskSet> LibvirtHypervisor::MakeDisks(const ConnectionHandle& connection,
                                                     const MachineIdentity& machine,
                                                     const PresentDisks& present, Config* config) {
  if (IsTest()) return NominalDisks(machine, present, *config);
  const ConnectionFacts facts = connection_.facts();
  absl::StatusOr<Volumes> volumes = Volumes::Open(connection, DiskFolder(facts), true);
  if (!volumes.ok()) return volumes.status();
  return Disks(machine, facts, *std::move(volumes)).Make(present, agent_binary_, config);
}

// Whether starting the machine starts libvirt's default network, or has done so before: what was
// off is to be off again when the machine is removed.
absl::StatusOr<bool> LibvirtHypervisor::DefaultIsToStart(const ConnectionHandle& connection,
                                                         const MachineIdentity& machine,
                                                         const Config& config,
                                                         const FoundDomain& found) {
  if (found.persistent.has_value() && found.persistent->started_default) return true;
  if (found.running || !config.network().nat()) return false;
  return Networks(machine, connection, connection_.facts().remote).DefaultIsOff();
}

absl::Status LibvirtHypervisor::WriteDefinition(const ConnectionHandle& connection,
                                                const MachineIdentity& machine,
                                                const Config& config, const DiskSet& disks,
                                                const FoundDomain& found) {
  const ConnectionFacts facts = connection_.facts();
  DomainParts parts;
  parts.identity = machine;
  parts.config = config;
  parts.connection = facts.kind;
  const std::string& type = config.advanced().domain_type();
  parts.domain_type = type.empty() || type == "auto" ? facts.auto_type : type;
  parts.uuid = DomainUuid(machine);
  if (found.persistent.has_value()) parts.uuid = found.persistent->uuid;
  if (!found.persistent.has_value() && found.live.has_value()) parts.uuid = found.live->uuid;
  parts.name = found.name;
  parts.owner = ThisUser();
  parts.disk_nonce = disks.nonce;
  parts.base_path = disks.base_path;
  parts.base_mark = disks.base_mark;
  parts.root_path = disks.root_path;
  parts.seed_path = disks.seed_path;
  parts.drive_paths = disks.drive_paths;
  if (!facts.remote) {
    parts.channel_path = ChannelPath(machine, facts.kind);
    parts.vsock = HostHasVsock(facts.kind);
  }
  if (facts.kind == ConnectionKind::kSystem) {
    auto networks = Networks(machine, connection, facts.remote).Make(config);
    if (!networks.ok()) return networks.status();
    parts.networks = *std::move(networks);
    const absl::StatusOr<bool> off = DefaultIsToStart(connection, machine, config, found);
    if (!off.ok()) return off.status();
    parts.started_default = *off;
  }
  const std::string xml = MakeDomainXml(parts);
  absl::StatusOr<DomainFacts> wanted = ReadDomainXml(xml, facts.auto_type);
  if (!wanted.ok()) return wanted.status();
  if (found.persistent.has_value() && SameMeaning(*found.persistent, *wanted)) {
    return absl::OkStatus();
  }
  // libvirt replaces a definition as a whole or not at all.
  DomainHandle defined(virDomainDefineXML(connection.get(), xml.c_str()));
  if (!defined) return LibvirtError("definition");
  return absl::OkStatus();
}

absl::Status LibvirtHypervisor::RenewDrives(const ConnectionHandle& connection,
                                            const MachineIdentity& machine, const Config& config) {
  if (IsTest()) return absl::OkStatus();
  const ConnectionFacts facts = connection_.facts();
  absl::StatusOr<Volumes> volumes = Volumes::Open(connection, DiskFolder(facts), false);
  if (!volumes.ok()) return volumes.status();
  return Disks(machine, facts, *std::move(volumes)).RenewDrives(config);
}

void LibvirtHypervisor::TakeBackDisks(const ConnectionHandle& connection,
                                      const MachineIdentity& machine, const DiskSet& disks) {
  if (IsTest()) return;
  const ConnectionFacts facts = connection_.facts();
  absl::StatusOr<Volumes> volumes = Volumes::Open(connection, DiskFolder(facts), false);
  if (volumes.ok()) Disks(machine, facts, *std::move(volumes)).TakeBack(disks);
}

// Disks, seeds and networks that neither definition points to any more.
absl::Status LibvirtHypervisor::RemoveUnused(const ConnectionHandle& connection,
                                             const MachineIdentity& machine) {
  if (IsTest()) return absl::OkStatus();
  const ConnectionFacts facts = connection_.facts();
  absl::StatusOr<FoundDomain> found = Find(connection, machine);
  if (!found.ok()) return found.status();
  if (facts.kind == ConnectionKind::kSystem) {
    absl::Status removed =
        Networks(machine, connection, facts.remote).Remove(found->NetworkNames()).status();
    if (!removed.ok()) return removed;
  }
  absl::StatusOr<Volumes> volumes = Volumes::Open(connection, DiskFolder(facts), false);
  if (!volumes.ok()) return volumes.status();
  return Disks(machine, facts, *std::move(volumes)).RemoveUnused(found->Paths());
}

}  // namespace rum
