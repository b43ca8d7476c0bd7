#include <google/protobuf/util/message_differencer.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "controller/hypervisor/agent_channel.h"
#include "controller/hypervisor/base_image.h"
#include "controller/hypervisor/base_images.h"
#include "controller/hypervisor/connection.h"
#include "controller/hypervisor/definition.h"
#include "controller/hypervisor/disks.h"
#include "controller/hypervisor/domain_xml.h"
#include "controller/hypervisor/hypervisor.h"
#include "controller/hypervisor/libvirt_handles.h"
#include "controller/hypervisor/networks.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

// A domain and both of its definitions.
struct Found {
  DomainHandle domain;  // null: there is none
  bool running = false;
  std::optional<DomainFacts> persistent;
  std::optional<DomainFacts> live;

  std::set<std::string> Paths() const {
    std::set<std::string> paths;
    for (const auto* facts : {&persistent, &live}) {
      if (!facts->has_value()) continue;
      paths.insert((*facts)->root_path);
      paths.insert((*facts)->seed_path);
    }
    return paths;
  }
  std::set<std::string> NetworkNames() const {
    std::set<std::string> names;
    for (const auto* facts : {&persistent, &live}) {
      if (facts->has_value()) names.insert((*facts)->networks.begin(), (*facts)->networks.end());
    }
    return names;
  }
};

bool SameMeaning(const DomainFacts& a, const DomainFacts& b) {
  return google::protobuf::util::MessageDifferencer::Equals(a.config, b.config) &&
         a.disk_nonce == b.disk_nonce && a.base_mark == b.base_mark && a.root_path == b.root_path &&
         a.seed_path == b.seed_path && a.drive_paths == b.drive_paths && a.networks == b.networks;
}

absl::StatusOr<DomainFacts> FactsOf(virDomainPtr domain, unsigned flags,
                                    const std::string& auto_type) {
  const std::string xml = TakeText(virDomainGetXMLDesc(domain, flags));
  if (xml.empty()) return LibvirtError("definition");
  return ReadDomainXml(xml, auto_type);
}

// The sizes that the guest sees. What cannot be asked stays as the definition has it.
void ReadSizes(virDomainPtr domain, const DomainFacts& facts, Config* config) {
  virDomainBlockInfo info;
  if (virDomainGetBlockInfo(domain, "vda", &info, 0) == 0) {
    config->mutable_resources()->set_disk(info.capacity);
  }
  for (auto& [name, drive] : *config->mutable_drives()) {
    auto target = facts.drive_targets.find(name);
    if (target == facts.drive_targets.end()) continue;
    if (virDomainGetBlockInfo(domain, target->second.c_str(), &info, 0) == 0) {
      drive.set_size(info.capacity);
    }
  }
}

std::string DiskFolder(const ConnectionFacts& connection) {
  if (connection.kind == ConnectionKind::kSystem && std::getenv("RUM_DATA_DIR") == nullptr) {
    return "/var/lib/libvirt/images/rum";
  }
  return DataDir() + "/disks";
}

class LibvirtHypervisor : public Hypervisor {
 public:
  LibvirtHypervisor(const std::string& uri, std::string agent_binary,
                    std::function<void(const std::string&)> on_event)
      : connection_(uri, std::move(on_event)), agent_binary_(std::move(agent_binary)) {}

  absl::Status Reach() { return connection_.Get().status(); }

  absl::StatusOr<DomainState> Inspect(const MachineIdentity& machine) override;
  absl::Status Define(const MachineIdentity& machine, const Config& config, Fresh fresh,
                      const SayProgress& progress) override;
  absl::StatusOr<std::set<std::string>> ImagesInUse() override;
  absl::Status Start(const MachineIdentity& machine) override;
  absl::Status Stop(const MachineIdentity& machine, absl::Duration grace) override;
  absl::StatusOr<std::vector<std::string>> Remove(const MachineIdentity& machine) override;
  absl::StatusOr<int> OpenChannel(const MachineIdentity& machine) override;

 private:
  absl::StatusOr<Found> Find(const ConnectionHandle& connection, const MachineIdentity& machine);
  absl::StatusOr<bool> NeedsImage(const ConnectionHandle& connection,
                                  const MachineIdentity& machine, Fresh fresh);
  absl::Status DefineNow(const ConnectionHandle& connection, const MachineIdentity& machine,
                         const Config& config, Fresh fresh, const std::string& image);
  absl::StatusOr<DiskSet> MakeDisks(const ConnectionHandle& connection,
                                    const MachineIdentity& machine, const PresentDisks& present,
                                    Config* config);
  absl::Status WriteDefinition(const ConnectionHandle& connection, const MachineIdentity& machine,
                               const Config& config, const DiskSet& disks, const Found& found);
  absl::Status RenewDrives(const ConnectionHandle& connection, const MachineIdentity& machine,
                           const Config& config);
  void TakeBackDisks(const ConnectionHandle& connection, const MachineIdentity& machine,
                     const DiskSet& disks);
  absl::Status RemoveUnused(const ConnectionHandle& connection, const MachineIdentity& machine);
  absl::Status StartNow(const ConnectionHandle& connection, const MachineIdentity& machine);
  absl::Status StopNow(const ConnectionHandle& connection, const MachineIdentity& machine,
                       absl::Duration grace);
  absl::StatusOr<std::vector<std::string>> RemoveNow(const ConnectionHandle& connection,
                                                     const MachineIdentity& machine);
  std::string ImageDrift(const DomainFacts& facts);
  bool IsTest() { return connection_.facts().kind == ConnectionKind::kTest; }

  Connection connection_;
  BaseImages images_;
  const std::string agent_binary_;
  std::mutex changing_;  // disks and definitions are changed by one call at a time
};

absl::StatusOr<Found> LibvirtHypervisor::Find(const ConnectionHandle& connection,
                                              const MachineIdentity& machine) {
  Found found;
  found.domain.reset(virDomainLookupByName(connection.get(), machine.domain_name().c_str()));
  if (!found.domain) {
    if (LastLibvirtCode() == VIR_ERR_NO_DOMAIN) return found;
    return LibvirtError("looking for the domain");
  }
  const int running = virDomainIsActive(found.domain.get());
  const int persistent = virDomainIsPersistent(found.domain.get());
  if (running < 0 || persistent < 0) return LibvirtError("looking at the domain");
  found.running = running == 1;
  const std::string auto_type = connection_.facts().auto_type;
  if (persistent == 1) {
    absl::StatusOr<DomainFacts> facts =
        FactsOf(found.domain.get(), VIR_DOMAIN_XML_INACTIVE, auto_type);
    if (!facts.ok()) return facts.status();
    found.persistent = *std::move(facts);
  }
  if (found.running) {
    absl::StatusOr<DomainFacts> facts = FactsOf(found.domain.get(), 0, auto_type);
    if (!facts.ok()) return facts.status();
    found.live = *std::move(facts);
  }
  return found;
}

absl::StatusOr<DomainState> LibvirtHypervisor::Inspect(const MachineIdentity& machine) {
  absl::StatusOr<ConnectionHandle> connection = connection_.Get();
  if (!connection.ok()) return connection.status();
  absl::StatusOr<Found> found = Find(*connection, machine);
  if (!found.ok()) return connection_.Judge(found.status());
  DomainState state;
  state.defined = found->persistent.has_value();
  state.running = found->running;
  if (state.defined) state.persistent = found->persistent->config;
  if (state.running) {
    state.live = found->live->config;
    state.virtiofs = found->live->virtiofs;
    // What the next start makes larger is in the persistent definition alone.
    if (!IsTest()) ReadSizes(found->domain.get(), *found->live, &state.live);
  }
  if (state.defined) state.image_drift = ImageDrift(*found->persistent);
  return state;
}

std::string LibvirtHypervisor::ImageDrift(const DomainFacts& facts) {
  if (facts.base_mark.empty() || connection_.facts().remote) return "";
  const std::string now = ImageMark(facts.base_path);
  if (now.empty()) return "gone";
  return now == facts.base_mark ? "" : "replaced";
}

absl::Status LibvirtHypervisor::Define(const MachineIdentity& machine, const Config& config,
                                       Fresh fresh, const SayProgress& progress) {
  absl::StatusOr<ConnectionHandle> connection = connection_.Get();
  if (!connection.ok()) return connection.status();
  const absl::StatusOr<bool> needed = NeedsImage(*connection, machine, fresh);
  if (!needed.ok()) return connection_.Judge(needed.status());
  FetchedImage image;
  if (*needed) {
    // Before the lock: a download may take long, and no other machine waits for it.
    absl::StatusOr<FetchedImage> fetched = images_.Fetch(config.image(), progress);
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
  absl::StatusOr<Found> found = Find(connection, machine);
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
  absl::StatusOr<Found> found = Find(connection, machine);
  if (!found.ok()) return found.status();
  if (fresh != Fresh::kNothing && found->running) {
    return absl::FailedPreconditionError("a new root disk needs the machine to be off");
  }
  const ConnectionFacts facts = connection_.facts();
  if (facts.kind == ConnectionKind::kSession && config.network().interfaces_size() > 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("network.interfaces: ", facts.uri, " cannot join networks; use the system's"));
  }
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

absl::Status LibvirtHypervisor::WriteDefinition(const ConnectionHandle& connection,
                                                const MachineIdentity& machine,
                                                const Config& config, const DiskSet& disks,
                                                const Found& found) {
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
  parts.disk_nonce = disks.nonce;
  parts.base_path = disks.base_path;
  parts.base_mark = disks.base_mark;
  parts.root_path = disks.root_path;
  parts.seed_path = disks.seed_path;
  parts.drive_paths = disks.drive_paths;
  if (!facts.remote) parts.channel_path = ChannelPath(machine, facts.kind);
  if (facts.kind == ConnectionKind::kSystem) {
    auto networks = Networks(machine, connection, facts.remote).Make(config);
    if (!networks.ok()) return networks.status();
    parts.networks = *std::move(networks);
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
  absl::StatusOr<Found> found = Find(connection, machine);
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

absl::Status LibvirtHypervisor::Start(const MachineIdentity& machine) {
  absl::StatusOr<ConnectionHandle> connection = connection_.Get();
  if (!connection.ok()) return connection.status();
  std::lock_guard<std::mutex> lock(changing_);
  return connection_.Judge(StartNow(*connection, machine));
}

absl::Status LibvirtHypervisor::StartNow(const ConnectionHandle& connection,
                                         const MachineIdentity& machine) {
  absl::StatusOr<Found> found = Find(connection, machine);
  if (!found.ok()) return found.status();
  if (found->running) return absl::OkStatus();
  if (!found->persistent.has_value()) {
    return absl::FailedPreconditionError("the machine is not defined");
  }
  // Disks grow while the machine is off, and the seed gets this rum's agent.
  absl::Status ready =
      DefineNow(connection, machine, found->persistent->config, Fresh::kNothing, "");
  if (!ready.ok()) return ready;
  if (connection_.facts().kind == ConnectionKind::kSystem) {
    found = Find(connection, machine);  // as it was defined just now
    if (!found.ok()) return found.status();
    ready = Networks(machine, connection, connection_.facts().remote)
                .Start(found->persistent->networks);
    if (!ready.ok()) return ready;
  }
  if (const fs::path socket = ChannelPath(machine, connection_.facts().kind); !socket.empty()) {
    std::error_code known_soon;  // QEMU says it better
    fs::create_directories(socket.parent_path(), known_soon);
    fs::permissions(socket.parent_path(), fs::perms::owner_all, known_soon);
  }
  if (virDomainCreate(found->domain.get()) == 0) return absl::OkStatus();
  absl::Status error = LibvirtError("start");
  return virDomainIsActive(found->domain.get()) == 1 ? absl::OkStatus() : error;
}

absl::Status LibvirtHypervisor::Stop(const MachineIdentity& machine, absl::Duration grace) {
  absl::StatusOr<ConnectionHandle> connection = connection_.Get();
  if (!connection.ok()) return connection.status();
  return connection_.Judge(StopNow(*connection, machine, grace));
}

absl::Status LibvirtHypervisor::StopNow(const ConnectionHandle& connection,
                                        const MachineIdentity& machine, absl::Duration grace) {
  DomainHandle domain(virDomainLookupByName(connection.get(), machine.domain_name().c_str()));
  if (!domain) {
    if (LastLibvirtCode() == VIR_ERR_NO_DOMAIN) return absl::OkStatus();
    return LibvirtError("stop");
  }
  // A domain that is not persistent is gone for libvirt once it is off.
  auto off = [&] {
    const int active = virDomainIsActive(domain.get());
    return active == 0 || (active < 0 && LastLibvirtCode() == VIR_ERR_NO_DOMAIN);
  };
  const absl::Time deadline = absl::Now() + grace;
  absl::Time ask_again = absl::InfinitePast();
  while (!off() && absl::Now() < deadline) {
    if (absl::Now() >= ask_again) {
      // A guest that is still booting does not hear the first press of the button.
      virDomainShutdown(domain.get());
      ask_again = absl::Now() + absl::Seconds(5);
      continue;
    }
    absl::SleepFor(absl::Milliseconds(50));
  }
  if (off() || virDomainDestroy(domain.get()) == 0) return absl::OkStatus();
  absl::Status error = LibvirtError("stop");
  return off() ? absl::OkStatus() : error;
}

absl::StatusOr<std::vector<std::string>> LibvirtHypervisor::Remove(const MachineIdentity& machine) {
  absl::StatusOr<ConnectionHandle> connection = connection_.Get();
  if (!connection.ok()) return connection.status();
  std::lock_guard<std::mutex> lock(changing_);
  absl::StatusOr<std::vector<std::string>> removed = RemoveNow(*connection, machine);
  if (!removed.ok()) return connection_.Judge(removed.status());
  return removed;
}

absl::StatusOr<std::vector<std::string>> LibvirtHypervisor::RemoveNow(
    const ConnectionHandle& connection, const MachineIdentity& machine) {
  absl::Status off = StopNow(connection, machine, absl::ZeroDuration());
  if (!off.ok()) return off;
  absl::StatusOr<Found> found = Find(connection, machine);
  if (!found.ok()) return found.status();
  std::vector<std::string> removed;
  if (found->domain) {
    unsigned flags = VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA;
    if (!IsTest()) flags |= VIR_DOMAIN_UNDEFINE_NVRAM | VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA;
    if (virDomainUndefineFlags(found->domain.get(), flags) < 0) {
      return LibvirtError("undefine (its disks and networks are kept)");
    }
    removed.push_back("domain " + machine.domain_name());
  }
  if (IsTest()) return removed;
  const ConnectionFacts facts = connection_.facts();
  if (facts.kind == ConnectionKind::kSystem) {
    absl::StatusOr<std::vector<std::string>> networks =
        Networks(machine, connection, facts.remote).Remove({});
    if (!networks.ok()) return networks.status();
    removed.insert(removed.end(), networks->begin(), networks->end());
  }
  absl::StatusOr<Volumes> volumes = Volumes::Open(connection, DiskFolder(facts), false);
  if (absl::IsNotFound(volumes.status())) return removed;
  if (!volumes.ok()) return volumes.status();
  absl::StatusOr<std::vector<std::string>> files =
      Disks(machine, facts, *std::move(volumes)).RemoveAll();
  if (!files.ok()) return files.status();
  removed.insert(removed.end(), files->begin(), files->end());
  return removed;
}

absl::StatusOr<int> LibvirtHypervisor::OpenChannel(const MachineIdentity& machine) {
  absl::StatusOr<ConnectionHandle> connection = connection_.Get();
  if (!connection.ok()) return connection.status();
  absl::StatusOr<Found> found = Find(*connection, machine);
  if (!found.ok()) return connection_.Judge(found.status());
  if (!found->running) return absl::UnavailableError("the machine is off");
  const std::string& path = found->live->channel_path;
  if (!connection_.facts().remote && !path.empty()) {
    absl::StatusOr<int> direct = ConnectUnixSocket(path);
    if (direct.ok()) return direct;
  }
  // The socket may belong to another user or lie on another host.
  StreamHandle stream(virStreamNew(connection->get(), VIR_STREAM_NONBLOCK));
  if (!stream || virDomainOpenChannel(found->domain.get(), kAgentChannel, stream.get(), 0) < 0) {
    absl::Status error = LibvirtError("agent channel");
    return absl::UnavailableError(error.message());
  }
  return SocketOfStream(std::move(stream));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Hypervisor>> ConnectLibvirt(
    const std::string& uri, const std::string& agent_binary,
    std::function<void(const std::string& domain_name)> on_event) {
  auto hypervisor = std::make_unique<LibvirtHypervisor>(uri, agent_binary, std::move(on_event));
  if (absl::Status reached = hypervisor->Reach(); !reached.ok()) return reached;
  return std::unique_ptr<Hypervisor>(std::move(hypervisor));
}

}  // namespace rum
