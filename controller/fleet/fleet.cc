#include "controller/fleet/fleet.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent-api/steady_now.h"
#include "controller/fleet/fleet_looks.h"
#include "controller/hypervisor/domain_xml.h"
#include "spdlog/spdlog.h"
#include "state/libvirt_uri.h"
#include "state/place.h"

namespace rum {
namespace {

constexpr absl::Duration kLeastUntilStart = absl::Milliseconds(100);

}  // namespace

Controller::Controller(ControllerParts parts)
    : parts_(std::move(parts)),
      runs_(std::make_shared<RunStore>(parts_.run_folder)),
      looks_(std::make_unique<Looks>()) {
  RunLoopOptions options = parts_.loop;
  options.on_retry = [this](const std::string& key, absl::Time at) {
    if (const std::shared_ptr<Machine> machine = Known(key)) machine->NoteNextTry(at);
  };
  loop_ =
      std::make_unique<RunLoop>([this](const std::string& key) { return RunKey(key); }, options);
  // A new file may cure what an old one could not, and somebody waits for it.
  watch_ = std::make_unique<FileWatch>([this](const std::string& path) { WakeFile(path); });
}

Controller::~Controller() {
  Stop();
  watch_.reset();
  // Links first, while the loop can still be woken by what ends in them.
  std::map<std::string, std::shared_ptr<Machine>> machines;
  std::map<std::string, std::shared_ptr<Connection>> connections;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    machines.swap(machines_);
    connections.swap(connections_);
  }
  machines.clear();
  connections.clear();
}

absl::Status Controller::Start() {
  absl::StatusOr<std::vector<std::string>> ids = parts_.store->List();
  if (!ids.ok()) return ids.status();
  std::vector<std::shared_ptr<Machine>> wanted;
  for (const std::string& id : *ids) {
    absl::StatusOr<MachineRecord> record = parts_.store->Load(id);
    if (record.ok() && (record->config_path().empty() || record->name().empty())) {
      record = absl::DataLossError("it names no machine");
    }
    std::lock_guard<std::mutex> lock(mutex_);
    if (!record.ok()) {
      unreadable_[id] = std::string(record.status().message());
      spdlog::error("record not taken up id={} error=\"{}\"", id, unreadable_[id]);
      continue;
    }
    const std::shared_ptr<Machine> machine = Add({record->config_path(), record->name(), id});
    if (record->want_running()) wanted.push_back(machine);
    machine->TakeUp(*std::move(record));
  }
  // Not before: with all at work, reading the rest would take its turn among them.
  for (const std::shared_ptr<Machine>& machine : wanted) LookAfter(machine);
  return absl::OkStatus();
}

void Controller::Stop() {
  std::map<std::string, std::shared_ptr<Machine>> machines;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopped_ = true;
    machines = machines_;
  }
  for (const auto& [id, machine] : machines) machine->Stop();
  loop_->Stop();
}

void Controller::LookAfter(const std::shared_ptr<Machine>& machine) {
  watch_->Add(machine->identity().config_path);
  loop_->Wake(machine->identity().id);
}

std::shared_ptr<Machine> Controller::Known(const std::string& id) const {
  std::lock_guard<std::mutex> lock(mutex_);
  auto found = machines_.find(id);
  return found == machines_.end() ? nullptr : found->second;
}

std::shared_ptr<Machine> Controller::At(const std::string& config_path) const {
  std::lock_guard<std::mutex> lock(mutex_);
  auto found = by_path_.find(config_path);
  return found == by_path_.end() ? nullptr : machines_.at(found->second);
}

// A record's path first: there its folder may be gone. Only a path that no record has makes an id.
Controller::MachineOr Controller::Find(const std::string& config_path) {
  if (std::shared_ptr<Machine> known = At(config_path)) return known;
  absl::StatusOr<MachineIdentity> identity = IdentityOf(config_path);
  if (!identity.ok()) return identity.status();
  if (std::shared_ptr<Machine> known = At(identity->config_path)) return known;
  const std::string through_link = IdThroughLink(identity->config_path);
  std::lock_guard<std::mutex> lock(mutex_);
  if (stopped_) return absl::CancelledError("the controller is stopping");
  if (const auto found = by_path_.find(identity->config_path); found != by_path_.end())
    return machines_.at(found->second);
  if (const auto before = machines_.find(through_link);
      before != machines_.end() && before->second->made() &&
      before->second->Snapshot().identity_rule() == 0) {
    return before->second;
  }
  for (int nth = 1; machines_.count(identity->id) > 0; ++nth)
    identity->id = NewMachineId(identity->config_path, nth);
  return Add(*std::move(identity));
}

std::shared_ptr<Machine> Controller::Add(MachineIdentity identity) {
  const std::string id = identity.id;
  by_path_[identity.config_path] = id;
  by_domain_[identity.domain_name()] = id;
  by_domain_[DomainUuid(identity)] = id;
  LinkSources sources{[this, id](const std::string& uri) { return Connect(uri, id); }, parts_.guest,
                      parts_.listeners, runs_, parts_.now};
  const auto machine =
      std::make_shared<Machine>(std::move(identity), std::move(sources), parts_.store.get(),
                                MachineKeys(parts_.key_folder), [this, id] { loop_->Wake(id); });
  machines_[id] = machine;
  return machine;
}

void Controller::WakeFile(const std::string& config_path) {
  if (const std::shared_ptr<Machine> machine = At(config_path))
    loop_->WakeFirst(machine->identity().id);
}

// Records of before, too, have what files said: nobody is to be led by them where a file may not
// lead today. What the user's own environment named may be anything.
absl::Status Controller::MayConnect(const std::string& uri) const {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (uri == parts_.default_uri || own_uris_.count(uri) > 0) return absl::OkStatus();
  }
  const std::string problem = LibvirtUriProblem(uri);
  if (problem.empty()) return absl::OkStatus();
  for (const auto& [id, machine] : Machines()) {
    if (machine->UserNamed(uri)) return absl::OkStatus();
  }
  return absl::FailedPreconditionError(absl::StrCat("advanced.libvirt_uri ", problem));
}

absl::StatusOr<std::shared_ptr<Hypervisor>> Controller::Connect(const std::string& asked,
                                                                const std::string& machine) {
  const std::string& uri = asked.empty() ? parts_.default_uri : asked;
  if (absl::Status allowed = MayConnect(uri); !allowed.ok()) return allowed;
  std::shared_ptr<Connection> connection;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    std::shared_ptr<Connection>& entry = connections_[uri];
    if (entry == nullptr) entry = std::make_shared<Connection>();
    connection = entry;
  }
  std::lock_guard<std::mutex> lock(connection->mutex);
  if (!machine.empty()) connection->machines.insert(machine);
  if (connection->hypervisor == nullptr) {
    absl::StatusOr<std::unique_ptr<Hypervisor>> made = parts_.hypervisor(
        uri,
        [this, uri](const std::string& name) { name.empty() ? WakeAll(uri) : WakeDomain(name); });
    if (!made.ok()) return made.status();
    connection->hypervisor = *std::move(made);
  }
  return connection->hypervisor;
}

void Controller::WakeDomain(const std::string& domain) {
  std::string id;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    auto found = by_domain_.find(domain);
    if (found == by_domain_.end()) return;
    id = found->second;
  }
  loop_->Wake(id);
}

void Controller::WakeAll(const std::string& uri) {
  std::shared_ptr<Connection> connection;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    auto found = connections_.find(uri);
    if (found == connections_.end()) return;
    connection = found->second;
  }
  std::lock_guard<std::mutex> lock(connection->mutex);
  for (const std::string& machine : connection->machines) loop_->Wake(machine);
}

RunEnd Controller::RunKey(const std::string& id) {
  std::shared_ptr<Machine> machine = Known(id);
  if (machine == nullptr) return absl::OkStatus();
  int actions = 0;
  EventSink log;
  log.result = [&](const ActionResult& result) {
    ++actions;
    if (result.ok()) {
      spdlog::info("reconciled machine={} field={} result=\"{}\"", machine->identity().name,
                   result.action().field(), result.message());
    } else {
      spdlog::warn("action failed machine={} field={} error=\"{}\"", machine->identity().name,
                   result.action().field(), result.message());
    }
  };
  const absl::Time begin = SteadyNow();
  absl::Status status = machine->Background(
      log, [&] { return watch_->BeingWritten(machine->identity().config_path); });
  metrics_.Reconciled(status, SteadyNow() - begin, actions);
  if (!status.ok()) {
    spdlog::debug("reconcile failed machine={} error=\"{}\"", machine->identity().name,
                  std::string(status.message()));
  }
  if (!machine->want_running()) return status;
  const bool told = watch_->Add(machine->identity().config_path) && machine->GuestPushes();
  const absl::Duration until_start =
      std::max(machine->next_start() - absl::Now(), kLeastUntilStart);  // as recorded
  if (until_start < absl::Hours(1)) return {status, std::min(until_start, parts_.poll)};
  return told ? RunEnd(status) : RunEnd(status, parts_.poll);
}

ApplyOutcome Controller::Apply(const std::string& config_path, const ApplyOptions& options,
                               const EventSink& sink) {
  const MachineOr machine =
      options.up && options.new_machine ? Find(config_path) : FindMade(config_path);
  if (!machine.ok()) return ApplyOutcome::Failed(machine.status());
  {
    std::lock_guard<std::mutex> lock(mutex_);
    own_uris_.insert(options.default_uri);
  }
  if (!options.dry_run) {
    if (absl::Status moved = FollowLink(*machine, config_path); !moved.ok())
      return ApplyOutcome::Failed(moved);
  }
  // The half of a file is not what is asked for; the watch knows an end of waiting.
  while (watch_->BeingWritten((*machine)->identity().config_path)) {
    absl::SleepFor(absl::Milliseconds(20));
  }
  ApplyOutcome outcome = (*machine)->Apply(options, sink);
  // Only from now on: the first look of the loop would find nothing else to do.
  if (!(*machine)->want_running() || options.dry_run) return outcome;
  if (outcome.failed || outcome.actions > 0) {
    LookAfter(*machine);
  } else {
    watch_->Add((*machine)->identity().config_path);
    // This was a look, and whoever comes next need not wait for another.
    loop_->WakeUnlessSettled((*machine)->identity().id);
  }
  return outcome;
}

absl::StatusOr<MachineStatus> Controller::Status(const std::string& config_path,
                                                 const std::string* default_uri) {
  const MachineOr machine = Find(config_path);
  if (!machine.ok()) return machine.status();
  MachineStatus status = (*machine)->Status(default_uri);
  if (const std::string meant = WhoIsMeant(**machine); !meant.empty()) status.add_notes(meant);
  return status;
}

absl::Status Controller::Watch(const std::string& config_path, const Machine::WatchOptions& options,
                               const std::function<bool(const StatusFeed::News&)>& tell,
                               const std::function<bool()>& gone) {
  absl::StatusOr<std::shared_ptr<Machine>> found = Find(config_path);
  if (!found.ok()) return found.status();
  if (options.follow) LookAfter(*found);
  (*found)->Watch(options, tell, gone);
  return absl::OkStatus();
}

absl::StatusOr<Machine::TrustState> Controller::Trust(const std::string& config_path,
                                                      const Machine::TrustChange& change) {
  const MachineOr machine = Find(config_path);
  if (!machine.ok()) return machine.status();
  {
    std::lock_guard<std::mutex> lock(mutex_);
    own_uris_.insert(change.default_uri);
  }
  absl::StatusOr<Machine::TrustState> state = (*machine)->Trust(change);
  if (change.any() && (*machine)->want_running()) loop_->WakeFirst((*machine)->identity().id);
  return state;
}

ApplyOutcome Controller::Down(const std::string& config_path, const EventSink& sink, bool force) {
  const MachineOr machine = FindMade(config_path);
  return machine.ok() ? (*machine)->Down(sink, force) : ApplyOutcome::Failed(machine.status());
}

ApplyOutcome Controller::Destroy(const std::string& config_path, const EventSink& sink,
                                 bool force) {
  const MachineOr machine = FindMade(config_path);
  if (!machine.ok()) return ApplyOutcome::Failed(machine.status());
  ApplyOutcome outcome = (*machine)->Destroy(sink, force);
  if (outcome.failed) return outcome;
  watch_->Remove((*machine)->identity().config_path);
  loop_->Forget((*machine)->identity().id);
  return outcome;
}

absl::StatusOr<std::set<std::string>> Controller::ImagesInUse() {
  std::set<std::string> uris = {
      parts_.default_uri};  // the default, also when no machine is in it any more
  absl::StatusOr<std::vector<std::string>> ids = parts_.store->List();
  if (!ids.ok()) return ids.status();
  for (const std::string& id : *ids) {
    absl::StatusOr<MachineRecord> record = parts_.store->Load(id);
    if (!record.ok()) return record.status();
    uris.insert(UriOf(record->desired(), *record));
  }
  std::set<std::string> used;
  for (const std::string& uri : uris) {
    absl::StatusOr<std::shared_ptr<Hypervisor>> hypervisor = Connect(uri, "");
    absl::Status status = hypervisor.status();
    if (status.ok()) {
      absl::StatusOr<std::set<std::string>> images = (*hypervisor)->ImagesInUse();
      status = images.status();
      if (status.ok()) used.insert(images->begin(), images->end());
    }
    if (!status.ok()) {
      return absl::Status(status.code(), absl::StrCat("which images are in use is not known: ",
                                                      std::string(status.message())));
    }
  }
  return used;
}

absl::StatusOr<std::vector<CachedImage>> Controller::Images() {
  return images_.cache().List([this] { return ImagesInUse(); });
}

absl::StatusOr<FetchedImage> Controller::PullImage(const Image& image, const Onlooker& onlooker) {
  return images_.Fetch(image, onlooker);
}

absl::Status Controller::DeleteImage(const std::string& name) {
  return images_.cache().Delete(name, [this] { return ImagesInUse(); });
}

absl::StatusOr<std::vector<CachedImage>> Controller::PruneImages() {
  return images_.cache().Prune([this] { return ImagesInUse(); });
}

std::map<std::string, std::shared_ptr<Machine>> Controller::Machines() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return machines_;
}

int Controller::machines() const {
  int wanted = 0;
  for (const auto& [id, machine] : Machines()) wanted += machine->want_running() ? 1 : 0;
  return wanted;
}

std::vector<prometheus::MetricFamily> Controller::CollectMetrics() {
  FleetTotals totals;
  for (const auto& [id, machine] : Machines()) {
    if (!machine->want_running()) continue;
    ++totals.machines;
    totals.drift_items += machine->items_waiting();
    totals.restarts_awaited += machine->restarts_awaited();
    for (const ForwardState& forward : machine->Forwards()) {
      totals.open_connections += forward.open_connections;
      totals.bytes_in += forward.bytes_in;
      totals.bytes_out += forward.bytes_out;
    }
  }
  return metrics_.Collect(loop_->Stats(), totals);
}

bool Controller::Settled() {
  const RunLoopStats stats = loop_->Stats();
  return stats.queued == 0 && stats.retrying == 0 && stats.busy == 0;
}

}  // namespace rum
