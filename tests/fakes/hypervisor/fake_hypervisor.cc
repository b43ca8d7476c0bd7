#include "tests/fakes/hypervisor/fake_hypervisor.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "controller/hypervisor/definition.h"
#include "tests/fakes/hypervisor/fake_room.h"

namespace rum {

using Lock = std::unique_lock<std::mutex>;

namespace {

const Interface* FindCard(const Network& network, const std::string& card) {
  for (const Interface& interface : network.interfaces()) {
    if ("network:" + interface.network() == card) return &interface;
  }
  return nullptr;
}

bool HasCard(const Network& network, const std::string& card) {
  return card == "nat" ? network.nat() : FindCard(network, card) != nullptr;
}

std::string CardText(const Config& config, const std::string& card) {
  const Interface* const found = FindCard(config.network(), card);
  return found == nullptr ? "" : found->DebugString();
}

// As `defined` has it, in the order of that; null: gone.
void SetCard(const std::string& card, const Network* defined, Network* live) {
  if (card == "nat") return live->set_nat(defined != nullptr);
  const Network before = *live;
  live->clear_interfaces();
  if (defined == nullptr) {
    for (const Interface& kept : before.interfaces()) {
      if ("network:" + kept.network() != card) *live->add_interfaces() = kept;
    }
    return;
  }
  for (const Interface& next : defined->interfaces()) {
    const std::string name = "network:" + next.network();
    const Interface* const kept = name == card ? &next : FindCard(before, name);
    if (kept != nullptr) *live->add_interfaces() = *kept;
  }
  for (const Interface& other : before.interfaces()) {
    if (FindCard(*defined, "network:" + other.network()) == nullptr)
      *live->add_interfaces() = other;
  }
}

std::string SourceIn(const Config& config, const std::string& tag) {
  for (const Mount& mount : config.mounts()) {
    if (MountTag(mount) == tag) return mount.source();
  }
  return "";
}

// One of a tag, and one at a target, in the order of the definition.
void SetMounts(const std::set<std::string>& gone, const std::vector<Mount>& come,
               DomainState* domain) {
  std::map<std::string, Mount> by_tag;
  for (const Mount& mount : domain->live.mounts()) {
    const auto replaces = [&](const Mount& other) { return other.target() == mount.target(); };
    const bool stays =
        gone.count(MountTag(mount)) == 0 && std::none_of(come.begin(), come.end(), replaces);
    if (stays) by_tag[MountTag(mount)] = mount;
    if (!stays) domain->leaving_folders[MountTag(mount)] = mount.source();
  }
  for (const Mount& mount : come) {
    by_tag[MountTag(mount)] = mount;
    domain->leaving_folders.erase(MountTag(mount));
  }
  domain->live.clear_mounts();
  for (const Mount& mount : domain->persistent.mounts()) {
    const auto found = by_tag.find(MountTag(mount));
    if (found == by_tag.end()) continue;
    *domain->live.add_mounts() = found->second;
    by_tag.erase(found);
  }
  for (const auto& [tag, mount] : by_tag) *domain->live.add_mounts() = mount;
}

}  // namespace

FakeHypervisor::FakeHypervisor(std::function<void(const std::string&)> on_event)
    : on_event_(std::move(on_event)) {}

FakeHypervisor::~FakeHypervisor() {
  for (const auto& [domain, fd] : consoles_) close(fd);
}

void FakeHypervisor::FailNext(absl::Status error) {
  Lock lock(mutex_);
  fail_next_ = std::move(error);
}

void FakeHypervisor::FailAll(absl::Status error) {
  Lock lock(mutex_);
  fail_all_ = std::move(error);
}

void FakeHypervisor::SetUri(const std::string& uri) {
  Lock lock(mutex_);
  uri_ = uri;
}

void FakeHypervisor::FailStarts(absl::Status error) {
  Lock lock(mutex_);
  fail_starts_ = std::move(error);
}

void FakeHypervisor::SetChannel(
    std::function<absl::StatusOr<int>(const MachineIdentity&)> channel) {
  Lock lock(mutex_);
  channel_ = std::move(channel);
}

void FakeHypervisor::EditPersistent(const MachineIdentity& machine,
                                    const std::function<void(Config*)>& edit) {
  Lock lock(mutex_);
  edit(&domains_[machine.domain_name()].persistent);
}

void FakeHypervisor::PowerOff(const MachineIdentity& machine, DomainCause cause) {
  Lock lock(mutex_);
  TurnOff(cause, &domains_[machine.domain_name()]);
  HangUpConsole(machine.domain_name());
  lock.unlock();
  Tell(machine);
}

void FakeHypervisor::MakeSnapshot(const MachineIdentity& machine, const std::string& name) {
  Lock lock(mutex_);
  domains_[machine.domain_name()].snapshots.push_back(name);
}

void FakeHypervisor::SetNetworks(const std::set<std::string>& of_others) {
  Lock lock(mutex_);
  networks_ = of_others;
}

void FakeHypervisor::Hold(const MachineIdentity& machine, DomainCause cause) {
  Lock lock(mutex_);
  DomainState& domain = domains_[machine.domain_name()];
  domain.cause = cause;
  domain.paused = cause >= DomainCause::kPausedByUser && cause != DomainCause::kPausedForNow;
  lock.unlock();
  Tell(machine);
}

void FakeHypervisor::TurnOff(DomainCause cause, DomainState* domain) {
  domain->running = false;
  domain->paused = false;
  domain->cause = cause;
  domain->live.Clear();
  domain->ports.reset();
  domain->grown.clear();
  domain->room = Room();
  domain->leaving_folders.clear();
  domain->virtiofs = false;
}

int FakeHypervisor::DisksMade(const MachineIdentity& machine) {
  Lock lock(mutex_);
  return disks_made_[machine.domain_name()];
}

void FakeHypervisor::SetFetch(std::function<absl::Status(const Onlooker&)> fetch) {
  Lock lock(mutex_);
  fetch_ = std::move(fetch);
}

std::vector<std::string> FakeHypervisor::Changes() {
  Lock lock(mutex_);
  return changes_;
}

absl::StatusOr<DomainState> FakeHypervisor::Inspect(const MachineIdentity& machine) {
  Lock lock(mutex_);
  if (absl::Status failure = TakeFailure(); !failure.ok()) return failure;
  auto domain = domains_.find(machine.domain_name());
  DomainState state = domain == domains_.end() ? DomainState() : domain->second;
  state.uri = uri_;
  return state;
}

absl::Status FakeHypervisor::Define(const MachineIdentity& machine, const Config& config,
                                    Fresh fresh, const Onlooker& onlooker) {
  Lock lock(mutex_);
  if (absl::Status failure = TakeFailure(); !failure.ok()) return failure;
  const auto known = domains_.find(machine.domain_name());
  const bool defined = known != domains_.end() && known->second.defined;
  if (fetch_ && (fresh != Fresh::kNothing || !defined)) {
    const auto fetch = fetch_;
    lock.unlock();  // no other call waits for it
    if (absl::Status fetched = fetch(onlooker); !fetched.ok()) return fetched;
    lock.lock();
  }
  DomainState& domain = domains_[machine.domain_name()];
  if (fresh != Fresh::kNothing && domain.running) {
    return absl::FailedPreconditionError("a new root disk needs the machine to be off");
  }
  const bool keep = domain.defined && fresh == Fresh::kNothing;
  if (!keep) ++disks_made_[machine.domain_name()];
  std::optional<Config> old;
  if (keep) old = domain.persistent;
  if (keep && domain.running) old = WithSizesOf(domain.live, *std::move(old));
  domain.persistent = DefinitionFor(config, old);
  for (int i = 0; i < config.network().interfaces_size(); ++i) {
    Interface* const card = domain.persistent.mutable_network()->mutable_interfaces(i);
    card->set_joined(card->joined() && networks_.count(card->network()) > 0);
  }
  domain.defined = true;
  changes_.push_back(fresh == Fresh::kDiskAndDrives ? "define with fresh drives" : "define");
  lock.unlock();
  Tell(machine);
  return absl::OkStatus();
}

absl::StatusOr<std::set<std::string>> FakeHypervisor::NetworksOfOthers(const MachineIdentity&) {
  Lock lock(mutex_);
  if (absl::Status failure = TakeFailure(); !failure.ok()) return failure;
  return networks_;
}

absl::StatusOr<std::set<std::string>> FakeHypervisor::ImagesInUse() {
  Lock lock(mutex_);
  if (absl::Status failure = TakeFailure(); !failure.ok()) return failure;
  std::set<std::string> images;
  for (const auto& [name, domain] : domains_) images.insert(domain.persistent.image().base());
  return images;
}

void FakeHypervisor::SetSharing(Sharing sharing) {
  Lock lock(mutex_);
  sharing_ = sharing;
}

void FakeHypervisor::SetPorts(std::optional<PlugPorts> ports) {
  Lock lock(mutex_);
  ports_ = ports;
}

absl::Status FakeHypervisor::ChangeDisk(const MachineIdentity& machine, const DiskChange& change) {
  Lock lock(mutex_);
  if (absl::Status failure = TakeFailure(); !failure.ok()) return failure;
  DomainState& domain = domains_[machine.domain_name()];
  if (!domain.running) return absl::FailedPreconditionError("the machine is off");
  auto& live = *domain.live.mutable_drives();
  if (change.what == DiskChange::kFilesystems) {
    *domain.live.mutable_fs() = change.filesystems;
    changes_.push_back("adopt filesystems");
  } else if (!domain.ports.has_value()) {
    return absl::FailedPreconditionError("no disk changes here while the machine runs");
  } else if (change.what == DiskChange::kGrow) {
    Grow(change.drive, &domain);
  } else if (change.what == DiskChange::kUnplug) {
    if (live.erase(change.drive) == 0) return absl::OkStatus();
    ++domain.ports->free;
    changes_.push_back("unplug " + change.drive);
  } else {
    if (live.count(change.drive) > 0) return absl::OkStatus();
    const auto defined = domain.persistent.drives().find(change.drive);
    if (defined == domain.persistent.drives().end()) return absl::AbortedError("it is not defined");
    if (domain.ports->free == 0) return absl::InternalError("No more available PCI slots");
    --domain.ports->free;
    live[change.drive] = defined->second;
    changes_.push_back("plug " + change.drive);
  }
  lock.unlock();
  Tell(machine);
  return absl::OkStatus();
}

absl::Status FakeHypervisor::ChangeFolder(const MachineIdentity& machine,
                                          const FolderChange& change) {
  Lock lock(mutex_);
  if (absl::Status failure = TakeFailure(); !failure.ok()) return failure;
  DomainState& domain = domains_[machine.domain_name()];
  if (!domain.running) return absl::FailedPreconditionError("the machine is off");
  if (change.what == FolderChange::kMounts) {
    SetMounts(change.tags, {change.mounts.begin(), change.mounts.end()}, &domain);
    changes_.push_back("adopt mounts");
  } else if (domain.room.sharing != Sharing::kLive || !domain.ports.has_value()) {
    return absl::FailedPreconditionError("no folder comes or goes here while the machine runs");
  } else if (change.what == FolderChange::kDetach) {
    DetachFolder(change.tag, &domain);
  } else if (absl::Status attached = AttachFolder(change.tag, &domain); !attached.ok()) {
    return attached;
  }
  lock.unlock();
  Tell(machine);
  return absl::OkStatus();
}

// With the lock.
void FakeHypervisor::DetachFolder(const std::string& tag, DomainState* domain) {
  const bool there = !SourceIn(domain->live, tag).empty() || domain->leaving_folders.count(tag) > 0;
  if (!there) return;
  SetMounts({tag}, {}, domain);
  domain->leaving_folders.erase(tag);
  ++domain->ports->free;
  changes_.push_back("detach " + tag);
}

// With the lock.
absl::Status FakeHypervisor::AttachFolder(const std::string& tag, DomainState* domain) {
  const std::string source = SourceIn(domain->persistent, tag);
  if (source.empty()) return absl::AbortedError("it is not defined");
  const auto leaving = domain->leaving_folders.find(tag);
  const std::string now =
      leaving == domain->leaving_folders.end() ? SourceIn(domain->live, tag) : leaving->second;
  if (now != source) {
    DetachFolder(tag, domain);
    if (domain->ports->free == 0) return absl::InternalError("No more available PCI slots");
    --domain->ports->free;
    domain->virtiofs = true;
    changes_.push_back("attach " + tag);
  }
  for (const Mount& mount : domain->persistent.mounts()) {
    if (MountTag(mount) == tag) SetMounts({tag}, {mount}, domain);
  }
  return absl::OkStatus();
}

// With the lock.
void FakeHypervisor::Grow(const std::string& drive, DomainState* domain) {
  const bool root = drive.empty();
  const uint64_t wanted =
      root ? domain->persistent.resources().disk() : domain->persistent.drives().at(drive).size();
  const uint64_t now =
      root ? domain->live.resources().disk() : domain->live.drives().at(drive).size();
  if (now >= wanted) return;
  domain->grown.insert(drive);
  changes_.push_back("grow " + drive);
  if (root) {
    domain->live.mutable_resources()->set_disk(wanted);
  } else {
    (*domain->live.mutable_drives())[drive].set_size(wanted);
  }
}

absl::Status FakeHypervisor::ChangeCard(const MachineIdentity& machine, const CardChange& change) {
  Lock lock(mutex_);
  if (absl::Status failure = TakeFailure(); !failure.ok()) return failure;
  DomainState& domain = domains_[machine.domain_name()];
  if (!domain.running) return absl::FailedPreconditionError("the machine is off");
  if (!domain.ports.has_value())
    return absl::FailedPreconditionError("no card changes here while the machine runs");
  const bool plugs = change.what == CardChange::kPlug;
  if (plugs && !HasCard(domain.persistent.network(), change.card))
    return absl::AbortedError("it is not defined");
  const bool there = HasCard(domain.live.network(), change.card);
  if (!plugs && !there) return absl::OkStatus();
  if (plugs && there &&
      CardText(domain.live, change.card) == CardText(domain.persistent, change.card))
    return absl::OkStatus();
  if (plugs && !there && domain.ports->free == 0)
    return absl::InternalError("No more available PCI slots");
  if (!plugs) ++domain.ports->free;
  if (plugs && !there) --domain.ports->free;
  SetCard(change.card, plugs ? &domain.persistent.network() : nullptr,
          domain.live.mutable_network());
  changes_.push_back((plugs ? there ? "exchange " : "plug " : "unplug ") + change.card);
  lock.unlock();
  Tell(machine);
  return absl::OkStatus();
}

absl::Status FakeHypervisor::Start(const MachineIdentity& machine) {
  Lock lock(mutex_);
  if (absl::Status failure = TakeFailure(); !failure.ok()) return failure;
  auto found = domains_.find(machine.domain_name());
  if (found == domains_.end() || !found->second.defined) {
    return absl::FailedPreconditionError("the machine is not defined");
  }
  DomainState& domain = found->second;
  const bool on = domain.running && domain.cause != DomainCause::kPanicked &&
                  domain.cause != DomainCause::kShuttingDown;
  if (on && !domain.paused) return absl::OkStatus();
  if (!fail_starts_.ok()) {
    if (!on) TurnOff(DomainCause::kStartFailed, &domain);
    return fail_starts_;
  }
  if (!on) {
    domain.live = domain.persistent;
    domain.ports = ports_;
    domain.grown.clear();
    domain.room = FakeRoom(domain.live);
    domain.room.sharing = sharing_;
    domain.virtiofs = sharing_ == Sharing::kLive && domain.live.mounts_size() > 0;
  }
  domain.running = true;
  domain.paused = false;
  domain.cause = DomainCause::kNone;
  changes_.push_back(on ? "resume" : "start");
  lock.unlock();
  Tell(machine);
  return absl::OkStatus();
}

std::pair<uint32_t, uint64_t> FakeHypervisor::Given(const MachineIdentity& machine) {
  Lock lock(mutex_);
  const auto found = domains_.find(machine.domain_name());
  if (found == domains_.end()) return {};
  const Resources& live = found->second.live.resources();
  return {live.cpus(), live.memory_mb()};
}

void FakeHypervisor::EditLive(const MachineIdentity& machine,
                              const std::function<void(DomainState*)>& edit) {
  Lock lock(mutex_);
  edit(&domains_[machine.domain_name()]);
  lock.unlock();
  Tell(machine);
}

absl::Status FakeHypervisor::PlugCpus(const MachineIdentity& machine, uint32_t cpus) {
  Lock lock(mutex_);
  if (absl::Status failure = TakeFailure(); !failure.ok()) return failure;
  auto found = domains_.find(machine.domain_name());
  if (found == domains_.end() || !found->second.running)
    return absl::FailedPreconditionError("the machine is off");
  DomainState& domain = found->second;
  if (cpus > domain.room.cpus) return absl::FailedPreconditionError("no room for so many vCPUs");
  Resources* const resources = domain.live.mutable_resources();
  if (cpus <= resources->cpus()) return absl::OkStatus();
  if (!domain.room.plugs_cpus) return absl::FailedPreconditionError(Room::kPlugMayKill);
  resources->set_cpus(cpus);
  changes_.push_back("plug");
  return absl::OkStatus();
}

void FakeHypervisor::HoldMemory(uint64_t memory_mb) {
  Lock lock(mutex_);
  guest_holds_mb_ = memory_mb;
}

absl::StatusOr<Room> FakeHypervisor::ResizeMemory(const MachineIdentity& machine,
                                                  uint64_t memory_mb) {
  Lock lock(mutex_);
  if (absl::Status failure = TakeFailure(); !failure.ok()) return failure;
  auto found = domains_.find(machine.domain_name());
  if (found == domains_.end() || !found->second.running)
    return absl::FailedPreconditionError("the machine is off");
  DomainState& domain = found->second;
  if (!FakeResize(std::max(memory_mb, guest_holds_mb_), &domain))
    return absl::FailedPreconditionError("no room for so much memory");
  changes_.push_back("resize");
  return domain.room;
}

absl::Status FakeHypervisor::Stop(const MachineIdentity& machine, absl::Duration grace) {
  Lock lock(mutex_);
  if (absl::Status failure = TakeFailure(); !failure.ok()) return failure;
  auto found = domains_.find(machine.domain_name());
  if (found == domains_.end() || !found->second.running) return absl::OkStatus();
  TurnOff(grace > absl::ZeroDuration() ? DomainCause::kShutDown : DomainCause::kDestroyed,
          &found->second);
  HangUpConsole(machine.domain_name());
  changes_.push_back("stop");
  lock.unlock();
  Tell(machine);
  return absl::OkStatus();
}

absl::StatusOr<Removal> FakeHypervisor::Remove(const MachineIdentity& machine) {
  Lock lock(mutex_);
  if (absl::Status failure = TakeFailure(); !failure.ok()) return failure;
  auto found = domains_.find(machine.domain_name());
  if (found == domains_.end()) return Removal();
  domains_.erase(found);
  changes_.push_back("remove");
  lock.unlock();
  Tell(machine);
  return Removal{{"domain " + machine.domain_name()}, {}};
}

absl::StatusOr<int> FakeHypervisor::OpenChannel(const MachineIdentity& machine,
                                                GuestChannel channel) {
  Lock lock(mutex_);
  if (absl::Status failure = TakeFailure(); !failure.ok()) return failure;
  auto found = domains_.find(machine.domain_name());
  if (found == domains_.end() || !found->second.running) {
    return absl::UnavailableError("the machine is off");
  }
  if (channel == GuestChannel::kForward) return absl::NotFoundError("there is no such channel");
  auto open = channel_;
  lock.unlock();
  if (!open) return absl::UnavailableError("the machine has no agent");
  return open(machine);
}

absl::StatusOr<int> FakeHypervisor::OpenConsole(const MachineIdentity& machine, bool force) {
  Lock lock(mutex_);
  if (absl::Status failure = TakeFailure(); !failure.ok()) return failure;
  const std::string name = machine.domain_name();
  const auto found = domains_.find(name);
  if (found == domains_.end() || !found->second.running) {
    return absl::UnavailableError("the machine is off");
  }
  char byte = 0;
  const auto open = consoles_.find(name);
  const bool busy =
      open != consoles_.end() && recv(open->second, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 0;
  if (busy && !force) return absl::AlreadyExistsError("somebody is at the console already");
  HangUpConsole(name);
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return absl::ErrnoToStatus(errno, "socketpair");
  consoles_[name] = ends[0];
  return ends[1];
}

int FakeHypervisor::GuestEndOfConsole(const MachineIdentity& machine) {
  Lock lock(mutex_);
  const auto found = consoles_.find(machine.domain_name());
  return found == consoles_.end() ? -1 : found->second;
}

void FakeHypervisor::HangUpConsole(const std::string& domain) {
  const auto found = consoles_.find(domain);
  if (found == consoles_.end()) return;
  close(found->second);
  consoles_.erase(found);
}

void FakeHypervisor::SetConsoleLog(const MachineIdentity& machine, const std::string& said) {
  Lock lock(mutex_);
  console_logs_[machine.domain_name()] = said;
}

absl::StatusOr<std::string> FakeHypervisor::ConsoleLog(const MachineIdentity& machine,
                                                       size_t most) {
  Lock lock(mutex_);
  if (absl::Status failure = TakeFailure(); !failure.ok()) return failure;
  const auto said = console_logs_.find(machine.domain_name());
  if (said == console_logs_.end()) return absl::NotFoundError("it is not kept");
  return said->second.substr(said->second.size() - std::min(most, said->second.size()));
}

void FakeHypervisor::SetUsage(const MachineIdentity& machine, const Usage& usage) {
  Lock lock(mutex_);
  usages_[machine.domain_name()] = usage;
}

absl::StatusOr<std::map<std::string, Usage>> FakeHypervisor::Usages(
    const std::vector<MachineIdentity>& machines) {
  Lock lock(mutex_);
  if (absl::Status failure = TakeFailure(); !failure.ok()) return failure;
  std::map<std::string, Usage> usages;
  for (const MachineIdentity& machine : machines) {
    const auto found = domains_.find(machine.domain_name());
    if (found == domains_.end() || !found->second.running) continue;
    Usage usage = usages_[machine.domain_name()];
    if (usage.cpus == 0) usage.cpus = found->second.live.resources().cpus();
    usages[machine.id] = usage;
  }
  return usages;
}

absl::Status FakeHypervisor::TakeFailure() {
  if (!fail_all_.ok()) return fail_all_;
  return std::exchange(fail_next_, absl::OkStatus());
}

void FakeHypervisor::Tell(const MachineIdentity& machine) {
  if (on_event_) on_event_(machine.domain_name());
}

}  // namespace rum
