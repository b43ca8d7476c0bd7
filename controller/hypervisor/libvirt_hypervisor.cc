#include "controller/hypervisor/libvirt_hypervisor.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "controller/hypervisor/agent_channel.h"
#include "controller/hypervisor/base_image.h"
#include "controller/hypervisor/domain_cause.h"
#include "controller/hypervisor/networks.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

constexpr absl::Duration kNoGrace = absl::ZeroDuration();
constexpr absl::Duration kMostShutDown = absl::Minutes(2);  // QEMU's own last moments

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

absl::StatusOr<FoundDomain> LibvirtHypervisor::Find(const ConnectionHandle& connection,
                                                    const MachineIdentity& machine) {
  FoundDomain found;
  found.domain.reset(virDomainLookupByName(connection.get(), machine.domain_name().c_str()));
  if (!found.domain) {
    if (LastLibvirtCode() == VIR_ERR_NO_DOMAIN) return found;
    return LibvirtError("looking for the domain");
  }
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
    absl::StatusOr<DomainFacts> facts =
        FactsOf(found.domain.get(), VIR_DOMAIN_XML_INACTIVE, auto_type);
    if (!facts.ok()) return facts.status();
    found.persistent = *std::move(facts);
  }
  if (found.running) {
    absl::StatusOr<DomainFacts> facts = FactsOf(found.domain.get(), 0, auto_type);
    if (!facts.ok()) return facts.status();
    found.live = *std::move(facts);
  } else if (saved) {
    const std::string xml = TakeText(virDomainManagedSaveGetXMLDesc(found.domain.get(), 0));
    absl::StatusOr<DomainFacts> facts = ReadDomainXml(xml, auto_type);
    if (facts.ok()) found.saved = *std::move(facts);
  }
  return found;
}

absl::StatusOr<DomainState> LibvirtHypervisor::Inspect(const MachineIdentity& machine) {
  absl::StatusOr<ConnectionHandle> connection = connection_.Get();
  if (!connection.ok()) return connection.status();
  absl::StatusOr<FoundDomain> found = Find(*connection, machine);
  if (!found.ok()) return connection_.Judge(found.status());
  DomainState state;
  state.defined = found->persistent.has_value();
  state.running = found->running;
  if (state.defined) state.persistent = found->persistent->config;
  state.cause = found->cause;
  if (state.running) {
    state.paused = NeedsSomebody(found->cause);
    state.live = found->live->config;
    state.virtiofs = found->live->virtiofs;
    if (!connection_.facts().remote) state.vsock_cid = found->live->vsock_cid;
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
      const absl::Time limit = absl::Now() + kMostShutDown;
      while (virDomainIsActive(domain) == 1 && absl::Now() < limit) {
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
  const absl::Time deadline = absl::Now() + (CanHear(domain.get(), grace) ? grace : kNoGrace);
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
  absl::StatusOr<FoundDomain> found = Find(connection, machine);
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
    if (found->persistent.has_value() && found->persistent->started_default) {
      const auto stopped = Networks(machine, connection, facts.remote).StopDefault();
      if (!stopped.ok()) return stopped.status();
      if (*stopped) removed.push_back("the start of network default");
    }
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
  return std::make_unique<LibvirtHypervisor>(uri, agent_binary, std::move(on_event));
}

}  // namespace rum
