// Of LibvirtHypervisor: what makes disks, seeds, networks and definitions.
#include <libvirt/libvirt.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/hypervisor/definition.h"
#include "controller/hypervisor/libvirt_hypervisor.h"
#include "controller/hypervisor/uses.h"

namespace rum {
namespace {

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

// Somebody may have exchanged a disk since it was looked at: the definition must not take that
// back.
absl::Status CheckSameDisks(const std::string& present, const FoundDomain& found) {
  if (!found.persistent.has_value()) return absl::OkStatus();
  const absl::StatusOr<DomainFacts> now = ReadDomainXml(present, "");
  if (!now.ok()) return now.status();
  if (now->root_path == found.persistent->root_path &&
      now->drive_paths == found.persistent->drive_paths) {
    return absl::OkStatus();
  }
  return absl::AbortedError("the definition's disks were exchanged meanwhile");
}

std::set<std::string> DiskPathsOf(const DomainFacts& facts) {
  std::set<std::string> paths = {facts.root_path};
  for (const auto& [name, path] : facts.drive_paths) paths.insert(path);
  return paths;
}

// Where nothing is made: libvirt's names by what is noted alone.
std::map<std::string, std::string> NominalNetworks(const MachineIdentity& machine,
                                                   const Config& config) {
  std::map<std::string, std::string> names;
  for (const Interface& interface : config.network().interfaces()) {
    const std::string& name = interface.network();
    names[name] = interface.joined() ? name : OwnNetworkName(machine.id, name);
  }
  return names;
}

void ClearSizes(Config* config) {
  config->mutable_resources()->clear_disk();
  for (auto& [name, drive] : *config->mutable_drives()) drive.clear_size();
}

// vhost-vsock of the kernel; QEMU opens it as libvirt's user.
bool HostHasVsock(ConnectionKind kind) {
  return access("/dev/vhost-vsock", kind == ConnectionKind::kSystem ? F_OK : R_OK | W_OK) == 0;
}

}  // namespace

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
  absl::StatusOr<FoundDomain> found = Find(connection, machine);
  if (!found.ok()) return found.status();
  return disks_(machine, connection, connection_.facts())
      ->NeedsImage(found->persistent.has_value() || found->live.has_value(), fresh);
}

absl::StatusOr<std::set<std::string>> LibvirtHypervisor::ImagesInUse() {
  std::set<std::string> images;
  absl::StatusOr<ConnectionHandle> connection = connection_.Get();
  if (!connection.ok()) return connection.status();
  const ConnectionFacts facts = connection_.facts();
  if (!facts.has_files || facts.remote) return images;  // another host has files of its own
  // People's own machines, snapshots and layers may stand on them too.
  const Uses uses = AskUses(connection->get(), false);
  for (const Use& use : uses.all) images.insert(use.paths.begin(), use.paths.end());
  if (uses.unknown.empty()) return images;
  // Somebody may stand on any of them.
  const absl::StatusOr<std::vector<CachedImage>> cached =
      images_.cache().List([] { return std::set<std::string>(); });
  if (!cached.ok()) return cached.status();
  for (const CachedImage& image : *cached) images.insert(image.path);
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
  const std::unique_ptr<Disks> store = disks_(machine, connection, facts);
  Ledger* const ledger = store->ledger();
  if (!ledger->readable().ok()) return ledger->readable();
  PresentDisks present;
  if (fresh == Fresh::kNothing) {
    present.definition = found->persistent.has_value() ? found->persistent : found->live;
  }
  present.used = found->Paths();
  if (found->live.has_value()) present.in_use = DiskPathsOf(*found->live);
  present.fresh = fresh;
  present.image = image;
  if (!present.definition.has_value() && image.empty()) {
    present.image_files = images_.FilesOf(config.image());
  }
  absl::Status looked = LookAtDisks(machine, *found, ledger, &present);
  if (!looked.ok()) return looked;
  std::optional<Config> old;
  if (present.definition.has_value()) {
    old = present.definition->config;
    if (found->live.has_value()) {
      old = WithSizesOf(found->live->config, *std::move(old));
    } else {
      ClearSizes(&*old);  // disks tell theirs themselves, to Make()
    }
  }
  Config definition = DefinitionFor(config, old);
  absl::StatusOr<DiskSet> disks = store->Make(present, agent_binary_, &definition);
  absl::Status result =
      disks.ok() ? WriteDefinition(connection, machine, definition, *disks, *found, ledger)
                 : disks.status();
  if (!result.ok() && disks.ok()) store->TakeBack(*disks);
  if (result.ok()) result = ledger->SawDisks(disks->root_path, disks->nonce, disks->drive_paths);
  // What stays is no failure of what was asked for.
  RemoveUnused(connection, machine, result.ok() && fresh == Fresh::kDiskAndDrives, store.get());
  return result;
}

// Writes down what the definitions say that rum made.
absl::Status LibvirtHypervisor::Learn(const FoundDomain& found, const MachineIdentity& machine,
                                      Ledger* ledger) {
  const bool remote = connection_.facts().remote;
  const auto is_gone = [remote](const std::string& path) {
    struct stat file;
    return !remote && lstat(path.c_str(), &file) != 0 && errno == ENOENT;
  };
  for (const auto* facts : {&found.saved, &found.persistent, &found.live}) {
    if (!facts->has_value()) continue;
    absl::Status learned = ledger->Learn(machine.domain_name(), **facts, is_gone);
    if (!learned.ok()) return learned;
  }
  return absl::OkStatus();
}

// Where the disks are, and what is known to be rum's.
absl::Status LibvirtHypervisor::LookAtDisks(const MachineIdentity& machine,
                                            const FoundDomain& found, Ledger* ledger,
                                            PresentDisks* present) {
  absl::StatusOr<DiskPlaces> places = PlacesNow(found.persistent, found.live, found.live_disks);
  // All of them are made anew, whatever they are.
  if (!places.ok() && present->fresh != Fresh::kDiskAndDrives) return places.status();
  if (places.ok()) present->places = *std::move(places);
  if (absl::Status learned = Learn(found, machine, ledger); !learned.ok()) return learned;
  if (present->definition.has_value()) images_.Protect(present->definition->base_path);
  present->size_of = [domain = found.domain.get()](const std::string& path) -> uint64_t {
    virDomainBlockInfo info;
    const bool known =
        domain != nullptr && virDomainGetBlockInfo(domain, path.c_str(), &info, 0) == 0;
    return known ? info.capacity : 0;
  };
  return ledger->SawDisks(present->places.root,
                          present->definition.has_value() ? present->definition->disk_nonce : "",
                          present->places.drives);
}

// Whether starting the machine, or plugging its card in while it runs, starts libvirt's default
// network, or has done so before: what was off is to be off again when the machine is removed.
absl::StatusOr<bool> LibvirtHypervisor::DefaultIsToStart(Networks* networks, const Config& config,
                                                         const FoundDomain& found) {
  if (found.persistent.has_value() && found.persistent->started_default) return true;
  const bool is_on = found.live.has_value() && found.live->config.network().nat();
  if (is_on || !config.network().nat()) return false;
  return networks->DefaultIsOff();
}

absl::Status LibvirtHypervisor::WriteDefinition(const ConnectionHandle& connection,
                                                const MachineIdentity& machine,
                                                const Config& config, const DiskSet& disks,
                                                const FoundDomain& found, Ledger* ledger) {
  const ConnectionFacts facts = connection_.facts();
  DomainParts parts;
  parts.identity = machine;
  parts.config = config;
  parts.connection = facts.kind;
  const std::string& type = config.advanced().domain_type();
  parts.domain_type = type.empty() || type == "auto" ? facts.auto_type : type;
  parts.tcg_cache = facts.tcg_cache;
  parts.free_pages = facts.free_pages;
  parts.host_cpus = facts.host_cpus;
  parts.uuid = DomainUuid(machine);
  if (found.persistent.has_value()) parts.uuid = found.persistent->uuid;
  if (!found.persistent.has_value() && found.live.has_value()) parts.uuid = found.live->uuid;
  parts.owner = ThisUser();
  parts.disk_nonce = disks.nonce;
  parts.base_path = disks.base_path;
  parts.base_mark = disks.base_mark;
  parts.root_path = disks.root_path;
  parts.seed_path = disks.seed_path;
  parts.drive_paths = disks.drive_paths;
  if (!facts.remote) {
    parts.channel_path = ChannelPath(machine, facts.kind);
    parts.console_log = ConsoleLogPath(machine, facts.kind);
    parts.vsock = HostHasVsock(facts.kind);
  }
  if (facts.kind == ConnectionKind::kSystem) {
    Networks networks(machine, connection, facts.remote, ledger);
    auto names = networks.Make(config);
    if (!names.ok()) return names.status();
    parts.networks = *std::move(names);
    const absl::StatusOr<bool> off = DefaultIsToStart(&networks, config, found);
    if (!off.ok()) return off.status();
    parts.started_default = *off;
  } else {
    parts.networks = NominalNetworks(machine, config);
  }
  parts.own_volumes = ledger->volumes();
  parts.own_networks = ledger->networks();
  std::string xml = MakeDomainXml(parts);
  if (found.domain) {
    // As it is now, also what libvirt shows only who asks for it: the passwords of displays.
    const std::string present = TakeText(
        virDomainGetXMLDesc(found.domain.get(), VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE));
    if (present.empty()) return LibvirtError("reading the definition");
    if (absl::Status same = CheckSameDisks(present, found); !same.ok()) return same;
    absl::StatusOr<std::string> edited = EditDomainXml(present, parts);
    if (!edited.ok()) return edited.status();
    if (found.persistent.has_value() && *edited == present) return absl::OkStatus();
    xml = *std::move(edited);
  }
  // libvirt replaces a definition as a whole or not at all.
  DomainHandle defined(virDomainDefineXML(connection.get(), xml.c_str()));
  if (!defined) return LibvirtError("writing the definition");
  return absl::OkStatus();
}

// Disks, seeds and networks that neither definition points to any more. What cannot go now may go
// after the next Define(), or with the machine.
void LibvirtHypervisor::RemoveUnused(const ConnectionHandle& connection,
                                     const MachineIdentity& machine, bool drives, Disks* disks) {
  const ConnectionFacts facts = connection_.facts();
  absl::StatusOr<FoundDomain> found = Find(connection, machine);
  if (!found.ok()) return;
  if (facts.kind == ConnectionKind::kSystem) {
    Networks(machine, connection, facts.remote, disks->ledger()).Remove(found->NetworkNames());
  }
  disks->RemoveUnused(found->Paths(), drives);
}

}  // namespace rum
