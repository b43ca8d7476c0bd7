#include "controller/hypervisor/libvirt_hypervisor.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent-api/steady_now.h"
#include "controller/hypervisor/agent_channel.h"
#include "controller/hypervisor/base_image.h"
#include "controller/hypervisor/domain_cause.h"
#include "controller/hypervisor/live_edit.h"
#include "state/size.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

constexpr absl::Duration kNoGrace = absl::ZeroDuration();
constexpr absl::Duration kMostShutDown = absl::Minutes(2);  // QEMU's own last moments

absl::StatusOr<DomainFacts> PersistentFacts(virDomainPtr domain, const std::string& auto_type) {
  const std::string xml = TakeText(virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_INACTIVE));
  if (xml.empty()) return LibvirtError("reading the definition");
  return ReadDomainXml(xml, auto_type);
}

// The names of all snapshots, of disks and of whole machines. What cannot be asked is none.
std::vector<std::string> SnapshotsOf(virDomainPtr domain) {
  std::vector<std::string> names;
  virDomainSnapshotPtr* list = nullptr;
  const int count = virDomainListAllSnapshots(domain, &list, 0);
  for (int i = 0; i < count; ++i) {
    names.emplace_back(virDomainSnapshotGetName(list[i]));
    virDomainSnapshotFree(list[i]);
  }
  if (count >= 0) free(list);
  return names;
}

// As the guest sees it. QEMU writes it into the file at once, where reading it takes no three
// questions of libvirt's to QEMU.
std::optional<uint64_t> SizeOf(virDomainPtr domain, const std::string& target,
                               const std::string& path, bool remote) {
  if (const auto size = remote ? std::nullopt : VirtualSizeOf(path); size.has_value()) return size;
  virDomainBlockInfo info;
  if (virDomainGetBlockInfo(domain, target.c_str(), &info, 0) != 0) return std::nullopt;
  return info.capacity;
}

// What cannot be asked stays as the definition has it.
void ReadSizes(virDomainPtr domain, const DomainFacts& facts, bool remote, Config* config) {
  const auto root = SizeOf(domain, facts.root_target, facts.root_path, remote);
  if (root.has_value()) config->mutable_resources()->set_disk(*root);
  for (auto& [name, drive] : *config->mutable_drives()) {
    const auto target = facts.drive_targets.find(name);
    const auto path = facts.drive_paths.find(name);
    if (target == facts.drive_targets.end() || path == facts.drive_paths.end()) continue;
    const auto size = SizeOf(domain, target->second, path->second, remote);
    if (size.has_value()) drive.set_size(*size);
  }
}

// By what the definition said when it started, and what a disk was when it was plugged in.
std::set<std::string> GrownSince(const Config& said, const Config& now) {
  std::set<std::string> grown;
  const auto larger = [](uint64_t before, uint64_t after) {
    return before != 0 && DiskSize(before) < after;
  };
  if (larger(said.resources().disk(), now.resources().disk())) grown.insert("");
  for (const auto& [name, drive] : now.drives()) {
    const auto before = said.drives().find(name);
    if (before != said.drives().end() && larger(before->second.size(), drive.size()))
      grown.insert(name);
  }
  return grown;
}

// Folders that are shared and that it is not to mount are no mounts of what runs.
void SetAsideUnclaimed(const DomainFacts& live, DomainState* state) {
  state->live.clear_mounts();
  for (const Mount& mount : live.config.mounts()) {
    if (live.unclaimed_tags.count(MountTag(mount)) > 0) {
      state->leaving_folders[MountTag(mount)] = mount.source();
    } else {
      *state->live.add_mounts() = mount;
    }
  }
}

// Whether a domain that has the machine's name or UUID is its own, and this user's. What rum made
// before it said whose is ours; so is one whose element of rum's somebody took out of its
// definition, as name and UUID are made of the id.
absl::Status IsOurs(const FoundDomain& found, const MachineIdentity& machine) {
  const auto& facts = found.persistent.has_value() ? found.persistent : found.live;
  if (!facts.has_value()) return absl::OkStatus();
  if (!facts->machine_id.empty() && facts->machine_id != machine.id) {
    return absl::PermissionDeniedError(absl::StrCat(
        "the domain ", found.name, " (", facts->uuid,
        ") has the name or the UUID of this machine (", machine.id, "), but is another one (",
        facts->machine_id, "): rum leaves it alone; rename or undefine it with virsh"));
  }
  // Names of users change, their numbers do not.
  const std::string uid = facts->owner.substr(0, facts->owner.find(' '));
  if (uid.empty() || uid == absl::StrCat(geteuid()) || machine.of_anybody) return absl::OkStatus();
  const std::string name = facts->owner.substr(std::min(uid.size() + 1, facts->owner.size()));
  return absl::PermissionDeniedError(
      absl::StrCat("this machine belongs to user ", name.empty() ? "unknown" : name, " (uid ", uid,
                   "): the domain ", found.name, ", made from ", machine.config_path,
                   "; rum leaves it alone (up, apply, down and destroy take --force)"));
}

// Whether the guest can hear that it is to shut down within `grace`; what somebody paused goes on
// for that, so that it can write what it has in memory.
bool CanHear(virDomainPtr domain, absl::Duration grace) {
  int state = VIR_DOMAIN_NOSTATE;
  int reason = 0;
  if (grace <= kNoGrace || virDomainGetState(domain, &state, &reason, 0) != 0) return true;
  const DomainCause cause = CauseOf(state, reason, false);
  if (cause == DomainCause::kPanicked) return false;
  if (cause == DomainCause::kSuspended) return virDomainPMWakeup(domain, 0) == 0;
  return state != VIR_DOMAIN_PAUSED || !NeedsSomebody(cause) || virDomainResume(domain) == 0;
}

}  // namespace

// By its UUID, which stays when somebody renames it; by its name where it was made with another
// UUID.
absl::StatusOr<DomainHandle> LibvirtHypervisor::Lookup(const ConnectionHandle& connection,
                                                       const MachineIdentity& machine) {
  DomainHandle domain(virDomainLookupByUUIDString(connection.get(), DomainUuid(machine).c_str()));
  if (!domain && LastLibvirtCode() == VIR_ERR_NO_DOMAIN) {
    domain.reset(virDomainLookupByName(connection.get(), machine.domain_name().c_str()));
  }
  if (!domain && LastLibvirtCode() != VIR_ERR_NO_DOMAIN) {
    return LibvirtError("looking for the domain");
  }
  return domain;
}

absl::StatusOr<FoundDomain> LibvirtHypervisor::Find(const ConnectionHandle& connection,
                                                    const MachineIdentity& machine) {
  FoundDomain found;
  absl::StatusOr<DomainHandle> domain = Lookup(connection, machine);
  if (!domain.ok()) return domain.status();
  found.domain = *std::move(domain);
  if (!found.domain) return found;
  if (const char* name = virDomainGetName(found.domain.get()); name != nullptr) found.name = name;
  int state = VIR_DOMAIN_NOSTATE;
  int reason = 0;
  const int persistent = virDomainIsPersistent(found.domain.get());
  if (persistent < 0 || virDomainGetState(found.domain.get(), &state, &reason, 0) != 0)
    return LibvirtError("looking at the domain");
  found.running = state != VIR_DOMAIN_SHUTOFF;
  const bool saved = !found.running && virDomainHasManagedSaveImage(found.domain.get(), 0) == 1;
  found.cause = CauseOf(state, reason, saved);
  const std::string auto_type = connection_.facts().auto_type;
  if (persistent == 1) {
    absl::StatusOr<DomainFacts> facts = PersistentFacts(found.domain.get(), auto_type);
    if (!facts.ok()) return facts.status();
    found.persistent = *std::move(facts);
  }
  if (found.running) {
    const std::string xml = TakeText(virDomainGetXMLDesc(found.domain.get(), 0));
    if (xml.empty()) return LibvirtError("reading the definition");
    absl::StatusOr<DomainFacts> facts = ReadDomainXml(xml, auto_type);
    if (!facts.ok()) return facts.status();
    found.live = *std::move(facts);
    auto live_disks = ReadLiveDisks(xml);
    if (!live_disks.ok()) return live_disks.status();
    found.live_disks = *std::move(live_disks);
    found.ports = PortsOf(xml);
  } else if (saved) {
    const std::string xml = TakeText(virDomainManagedSaveGetXMLDesc(found.domain.get(), 0));
    absl::StatusOr<DomainFacts> facts = ReadDomainXml(xml, auto_type);
    if (facts.ok()) found.saved = *std::move(facts);
  }
  if (absl::Status ours = IsOurs(found, machine); !ours.ok()) return ours;
  return found;
}

absl::StatusOr<DomainState> LibvirtHypervisor::Inspect(const MachineIdentity& machine) {
  absl::StatusOr<ConnectionHandle> connection = connection_.Get();
  if (!connection.ok()) return connection.status();
  absl::StatusOr<FoundDomain> found = Find(*connection, machine);
  if (!found.ok()) return connection_.Judge(found.status());
  DomainState state;
  state.uri = connection_.facts().uri;
  state.defined = found->persistent.has_value();
  state.running = found->running;
  if (state.defined) state.persistent = found->persistent->config;
  state.cause = found->cause;
  if (state.running) {
    state.paused = NeedsSomebody(found->cause);
    state.live = found->live->config;
    state.room = found->live->room;
    state.room.sharing = SharingOf(*found);
    SetAsideUnclaimed(*found->live, &state);
    state.others_tags = found->live->others_tags;
    state.virtiofs = found->live->virtiofs;
    if (!connection_.facts().remote) state.vsock_cid = found->live->vsock_cid;
    // What the next start makes larger is in the persistent definition alone.
    if (connection_.facts().has_files) {
      ReadSizes(found->domain.get(), *found->live, connection_.facts().remote, &state.live);
    }
    state.grown = GrownSince(found->live->config, state.live);
    state.ports = found->ports;
  }
  if (state.defined) state.image_drift = ImageDrift(*found->persistent);
  if (found->domain) state.snapshots = SnapshotsOf(found->domain.get());
  return state;
}

absl::StatusOr<std::set<std::string>> LibvirtHypervisor::NetworksOfOthers(
    const MachineIdentity& machine) {
  absl::StatusOr<ConnectionHandle> connection = connection_.Get();
  if (!connection.ok()) return connection.status();
  const ConnectionFacts facts = connection_.facts();
  if (facts.kind == ConnectionKind::kSession) return std::set<std::string>();
  absl::StatusOr<std::set<std::string>> names = NetworkNames(connection->get());
  if (!names.ok()) return connection_.Judge(names.status());
  for (const std::string& own : Ledger(machine.id, facts.uri).networks()) names->erase(own);
  return names;
}

std::string LibvirtHypervisor::ImageDrift(const DomainFacts& facts) {
  if (facts.base_mark.empty() || connection_.facts().remote) return "";
  const std::string now = ImageMark(facts.base_path);
  if (now.empty()) return "gone";
  return now == facts.base_mark ? "" : "replaced";
}

absl::Status LibvirtHypervisor::Start(const MachineIdentity& machine) {
  absl::StatusOr<ConnectionHandle> connection = connection_.Get();
  if (!connection.ok()) return connection.status();
  std::lock_guard<std::mutex> lock(changing_);
  return connection_.Judge(StartNow(*connection, machine));
}

// With one that is on. False: it is off now.
absl::StatusOr<bool> LibvirtHypervisor::GoOn(const FoundDomain& found) {
  virDomainPtr domain = found.domain.get();
  switch (found.cause) {
    case DomainCause::kPanicked:
      if (virDomainDestroy(domain) != 0 && virDomainIsActive(domain) != 0)
        return LibvirtError("ending the machine whose kernel panicked");
      return false;
    case DomainCause::kShuttingDown: {
      const absl::Time limit = SteadyNow() + kMostShutDown;
      while (virDomainIsActive(domain) == 1 && SteadyNow() < limit) {
        absl::SleepFor(absl::Milliseconds(50));
      }
      if (virDomainIsActive(domain) == 0) return false;
      return absl::UnavailableError("the machine is shutting down and does not come to an end");
    }
    case DomainCause::kSuspended:
      if (virDomainPMWakeup(domain, 0) != 0) return LibvirtError("waking the machine");
      return true;
    default:
      if (NeedsSomebody(found.cause) && virDomainResume(domain) != 0)
        return LibvirtError("going on with the paused machine");
      return true;
  }
}

absl::Status LibvirtHypervisor::StartNow(const ConnectionHandle& connection,
                                         const MachineIdentity& machine) {
  absl::StatusOr<FoundDomain> found = Find(connection, machine);
  if (!found.ok()) return found.status();
  if (found->running) {
    absl::StatusOr<bool> runs = GoOn(*found);
    if (!runs.ok() || *runs) return runs.status();
    found = Find(connection, machine);
    if (!found.ok()) return found.status();
  }
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
    Ledger ledger(machine.id, connection_.facts().uri);
    if (!ledger.readable().ok()) return ledger.readable();
    ready = Networks(machine, connection, connection_.facts().remote, &ledger)
                .Start(found->persistent->networks);
    if (!ready.ok()) return ready;
  }
  if (const fs::path socket = ChannelPath(machine, connection_.facts().kind); !socket.empty()) {
    std::error_code known_soon;  // QEMU says it better
    fs::create_directories(socket.parent_path(), known_soon);
    fs::permissions(socket.parent_path(), fs::perms::owner_all, known_soon);
  }
  MakeConsoleFolder(*found);
  if (virDomainCreate(found->domain.get()) == 0) return absl::OkStatus();
  absl::Status error = LibvirtError("starting the machine");
  return virDomainIsActive(found->domain.get()) == 1 ? absl::OkStatus() : error;
}

absl::Status LibvirtHypervisor::Stop(const MachineIdentity& machine, absl::Duration grace) {
  absl::StatusOr<ConnectionHandle> connection = connection_.Get();
  if (!connection.ok()) return connection.status();
  return connection_.Judge(StopNow(*connection, machine, grace));
}

absl::Status LibvirtHypervisor::StopNow(const ConnectionHandle& connection,
                                        const MachineIdentity& machine, absl::Duration grace) {
  absl::StatusOr<FoundDomain> found = Find(connection, machine);
  if (!found.ok()) return found.status();
  if (!found->domain) return absl::OkStatus();
  const DomainHandle& domain = found->domain;
  // A domain that is not persistent is gone for libvirt once it is off.
  auto off = [&] {
    const int active = virDomainIsActive(domain.get());
    return active == 0 || (active < 0 && LastLibvirtCode() == VIR_ERR_NO_DOMAIN);
  };
  const absl::Time deadline = SteadyNow() + (CanHear(domain.get(), grace) ? grace : kNoGrace);
  absl::Time ask_again = absl::InfinitePast();
  while (!off() && SteadyNow() < deadline) {
    if (SteadyNow() >= ask_again) {
      // A guest that is still booting does not hear the first press of the button.
      virDomainShutdown(domain.get());
      ask_again = SteadyNow() + absl::Seconds(5);
      continue;
    }
    absl::SleepFor(absl::Milliseconds(50));
  }
  if (off() || virDomainDestroy(domain.get()) == 0) return absl::OkStatus();
  absl::Status error = LibvirtError("stopping the machine");
  return off() ? absl::OkStatus() : error;
}

absl::StatusOr<Removal> LibvirtHypervisor::Remove(const MachineIdentity& machine) {
  absl::StatusOr<ConnectionHandle> connection = connection_.Get();
  if (!connection.ok()) return connection.status();
  std::lock_guard<std::mutex> lock(changing_);
  absl::StatusOr<Removal> removal = RemoveNow(*connection, machine);
  if (!removal.ok()) return connection_.Judge(removal.status());
  return removal;
}

absl::StatusOr<Removal> LibvirtHypervisor::RemoveNow(const ConnectionHandle& connection,
                                                     const MachineIdentity& machine) {
  absl::Status off = StopNow(connection, machine, absl::ZeroDuration());
  if (!off.ok()) return off;
  absl::StatusOr<FoundDomain> found = Find(connection, machine);
  if (!found.ok()) return found.status();
  const std::unique_ptr<Disks> disks = disks_(machine, connection, connection_.facts());
  if (!disks->ledger()->readable().ok()) return disks->ledger()->readable();
  Removal removal;
  if (found->domain) {
    // What the definition alone knows goes with it.
    absl::Status learned = Learn(*found, machine, disks->ledger());
    if (!learned.ok()) return learned;
    unsigned flags = VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA;
    if (!IsTest()) flags |= VIR_DOMAIN_UNDEFINE_NVRAM | VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA;
    if (virDomainUndefineFlags(found->domain.get(), flags) < 0) {
      return LibvirtError("undefine (its disks and networks are kept)");
    }
    removal.removed.push_back("domain " + found->name);
    RemoveConsoleLog(*found, machine);
  }
  const bool started_default = found->persistent.has_value() && found->persistent->started_default;
  RemoveThings(connection, machine, started_default, disks.get(), &removal);
  return removal;
}

// As the definition names it: without the folder the machine would not start.
void LibvirtHypervisor::MakeConsoleFolder(const FoundDomain& found) {
  const std::string log = found.persistent.has_value() ? found.persistent->console_log : "";
  if (log.empty() || connection_.facts().kind != ConnectionKind::kSession) return;
  std::error_code known_soon;  // libvirt says it better
  const fs::path folder = fs::path(log).parent_path();
  if (fs::exists(folder, known_soon)) return;
  fs::create_directories(folder, known_soon);
  fs::permissions(folder, fs::perms::owner_all, known_soon);
}

// What rum made beside the domain. One thing that stays keeps no other.
void LibvirtHypervisor::RemoveThings(const ConnectionHandle& connection,
                                     const MachineIdentity& machine, bool started_default,
                                     Disks* disks, Removal* removal) {
  const auto add = [removal](const Removal& more) {
    removal->removed.insert(removal->removed.end(), more.removed.begin(), more.removed.end());
    removal->kept.insert(removal->kept.end(), more.kept.begin(), more.kept.end());
  };
  const auto keep = [removal](const std::string& what, const absl::Status& why) {
    removal->kept.push_back(absl::StrCat(what, ": ", std::string(why.message())));
  };
  const ConnectionFacts facts = connection_.facts();
  if (facts.kind == ConnectionKind::kSystem) {
    Networks networks(machine, connection, facts.remote, disks->ledger());
    add(networks.Remove({}));
    const auto stopped = started_default ? networks.StopDefault() : absl::StatusOr<bool>(false);
    if (!stopped.ok()) keep("the start of network default", stopped.status());
    if (stopped.ok() && *stopped) removal->removed.push_back("the start of network default");
  }
  add(disks->RemoveAll());
}

absl::StatusOr<int> LibvirtHypervisor::OpenChannel(const MachineIdentity& machine,
                                                   GuestChannel channel) {
  absl::StatusOr<ConnectionHandle> connection = connection_.Get();
  if (!connection.ok()) return connection.status();
  absl::StatusOr<FoundDomain> found = Find(*connection, machine);
  if (!found.ok()) return connection_.Judge(found.status());
  if (!found->running) return absl::UnavailableError("the machine is off");
  const std::string name = channel == GuestChannel::kAgent ? kAgentChannel : kForwardChannel;
  const auto& paths = found->live->channel_paths;
  const auto there = paths.find(name);
  if (there == paths.end()) {
    return absl::NotFoundError(absl::StrCat("the machine was started without the channel ", name));
  }
  const std::string& path = there->second;
  if (!connection_.facts().remote && !path.empty()) {
    absl::StatusOr<int> direct = ConnectUnixSocket(path);
    if (direct.ok()) return direct;
  }
  // The socket may belong to another user or lie on another host.
  StreamHandle stream(virStreamNew(connection->get(), VIR_STREAM_NONBLOCK));
  if (!stream || virDomainOpenChannel(found->domain.get(), name.c_str(), stream.get(), 0) < 0) {
    absl::Status error = LibvirtError("agent channel");
    return absl::UnavailableError(error.message());
  }
  return SocketOfStream(std::move(stream));
}

absl::StatusOr<std::unique_ptr<Hypervisor>> ConnectLibvirt(
    const std::string& uri, const std::string& agent_binary,
    std::function<void(const std::string& domain_name)> on_event) {
  return std::make_unique<LibvirtHypervisor>(uri, agent_binary, DisksIn, std::move(on_event));
}

}  // namespace rum
