#include "controller/fleet.h"

#include <utility>
#include <vector>

#include "spdlog/spdlog.h"

namespace rum {

Controller::Controller(ControllerParts parts) : parts_(std::move(parts)) {
  RunLoopOptions options = parts_.loop;
  options.on_retry = [this](const std::string& key, absl::Time at) {
    if (const std::shared_ptr<Machine> machine = Known(key)) machine->NoteNextTry(at);
  };
  loop_ =
      std::make_unique<RunLoop>([this](const std::string& key) { return RunKey(key); }, options);
  watch_ = std::make_unique<FileWatch>([this](const std::string& path) { loop_->Wake(path); });
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
  for (const std::string& id : *ids) {
    absl::StatusOr<MachineRecord> record = parts_.store->Load(id);
    if (!record.ok()) {
      spdlog::error("record not taken up id={} error=\"{}\"", id,
                    std::string(record.status().message()));
      continue;
    }
    if (!record->want_running()) continue;
    absl::StatusOr<std::shared_ptr<Machine>> machine = Find(record->config_path());
    if (machine.ok()) {
      LookAfter(*machine);
    } else {
      spdlog::error("machine not taken up path=\"{}\" error=\"{}\"", record->config_path(),
                    std::string(machine.status().message()));
    }
  }
  return absl::OkStatus();
}

void Controller::Stop() {
  std::map<std::string, std::shared_ptr<Machine>> machines;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopped_ = true;
    machines = machines_;
  }
  for (const auto& [path, machine] : machines) machine->Stop();
  loop_->Stop();
}

void Controller::LookAfter(const std::shared_ptr<Machine>& machine) {
  const std::string& path = machine->identity().config_path;
  watch_->Add(path);
  loop_->Wake(path);
}

std::shared_ptr<Machine> Controller::Known(const std::string& key) const {
  std::lock_guard<std::mutex> lock(mutex_);
  auto found = machines_.find(key);
  return found == machines_.end() ? nullptr : found->second;
}

absl::StatusOr<std::shared_ptr<Machine>> Controller::Find(const std::string& config_path) {
  if (std::shared_ptr<Machine> known = Known(config_path)) return known;
  absl::StatusOr<MachineIdentity> identity = IdentityOf(config_path);
  if (!identity.ok()) return identity.status();
  const std::string path = identity->config_path;
  std::lock_guard<std::mutex> lock(mutex_);
  if (stopped_) return absl::UnavailableError("the controller is stopping");
  std::shared_ptr<Machine>& machine = machines_[path];
  if (machine == nullptr) {
    by_domain_[identity->domain_name()] = path;
    LinkSources sources{[this](const std::string& uri) { return Connect(uri); }, parts_.agent,
                        parts_.listeners};
    machine = std::make_shared<Machine>(*std::move(identity), std::move(sources),
                                        parts_.store.get(), MachineKeys(parts_.key_folder),
                                        [this, path] { loop_->Wake(path); });
  }
  return machine;
}

absl::StatusOr<std::shared_ptr<Hypervisor>> Controller::Connect(const std::string& uri) {
  std::shared_ptr<Connection> connection;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    std::shared_ptr<Connection>& entry = connections_[uri];
    if (entry == nullptr) entry = std::make_shared<Connection>();
    connection = entry;
  }
  std::lock_guard<std::mutex> lock(connection->mutex);
  if (connection->hypervisor == nullptr) {
    absl::StatusOr<std::unique_ptr<Hypervisor>> made =
        parts_.hypervisor(uri, [this](const std::string& name) { WakeDomain(name); });
    if (!made.ok()) return made.status();
    connection->hypervisor = *std::move(made);
  }
  return connection->hypervisor;
}

void Controller::WakeDomain(const std::string& domain_name) {
  std::string path;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    auto found = by_domain_.find(domain_name);
    if (found == by_domain_.end()) return;
    path = found->second;
  }
  loop_->Wake(path);
}

absl::Status Controller::RunKey(const std::string& key) {
  std::shared_ptr<Machine> machine = Known(key);
  if (machine == nullptr) return absl::OkStatus();
  EventSink log;
  log.result = [&](const ActionResult& result) {
    if (result.ok()) {
      spdlog::info("reconciled machine={} field={} result=\"{}\"", machine->identity().name,
                   result.action().field(), result.message());
    } else {
      spdlog::warn("action failed machine={} field={} error=\"{}\"", machine->identity().name,
                   result.action().field(), result.message());
    }
  };
  absl::Status status = machine->Background(log);
  if (!status.ok()) {
    spdlog::debug("reconcile failed machine={} error=\"{}\"", machine->identity().name,
                  std::string(status.message()));
  }
  return status;
}

ApplyOutcome Controller::Apply(const std::string& config_path, const ApplyOptions& options,
                               const EventSink& sink) {
  absl::StatusOr<std::shared_ptr<Machine>> machine = Find(config_path);
  if (!machine.ok()) {
    ApplyOutcome outcome;
    outcome.failed = true;
    outcome.status = machine.status();
    outcome.error = std::string(machine.status().message());
    return outcome;
  }
  ApplyOutcome outcome = (*machine)->Apply(options, sink);
  // Only from now on: the first look of the loop would find nothing else to do.
  if ((*machine)->want_running() && !options.dry_run) LookAfter(*machine);
  return outcome;
}

absl::StatusOr<MachineStatus> Controller::Status(const std::string& config_path) {
  absl::StatusOr<std::shared_ptr<Machine>> machine = Find(config_path);
  if (!machine.ok()) return machine.status();
  return (*machine)->Status();
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

ApplyOutcome Controller::Down(const std::string& config_path, const EventSink& sink) {
  absl::StatusOr<std::shared_ptr<Machine>> machine = Find(config_path);
  ApplyOutcome outcome;
  if (machine.ok()) return (*machine)->Down(sink);
  outcome.failed = true;
  outcome.status = machine.status();
  outcome.error = std::string(machine.status().message());
  return outcome;
}

ApplyOutcome Controller::Destroy(const std::string& config_path, const EventSink& sink) {
  absl::StatusOr<std::shared_ptr<Machine>> machine = Find(config_path);
  ApplyOutcome outcome;
  if (!machine.ok()) {
    outcome.failed = true;
    outcome.status = machine.status();
    outcome.error = std::string(machine.status().message());
    return outcome;
  }
  outcome = (*machine)->Destroy(sink);
  if (outcome.failed) return outcome;
  watch_->Remove((*machine)->identity().config_path);
  loop_->Forget((*machine)->identity().config_path);
  return outcome;
}

absl::StatusOr<GuestAccess> Controller::Guest(const std::string& config_path) {
  absl::StatusOr<std::shared_ptr<Machine>> machine = Find(config_path);
  if (!machine.ok()) return machine.status();
  return (*machine)->Guest();
}

absl::StatusOr<std::set<std::string>> Controller::ImagesInUse() {
  std::set<std::string> uris = {""};  // the default, also when no machine is in it any more
  absl::StatusOr<std::vector<std::string>> ids = parts_.store->List();
  if (!ids.ok()) return ids.status();
  for (const std::string& id : *ids) {
    absl::StatusOr<MachineRecord> record = parts_.store->Load(id);
    if (!record.ok()) return record.status();
    uris.insert(UriOf(record->desired(), *record));
  }
  std::set<std::string> used;
  for (const std::string& uri : uris) {
    absl::StatusOr<std::shared_ptr<Hypervisor>> hypervisor = Connect(uri);
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

absl::StatusOr<FetchedImage> Controller::PullImage(const Image& image,
                                                   const SayProgress& progress) {
  return images_.Fetch(image, progress);
}

absl::Status Controller::DeleteImage(const std::string& name) {
  return images_.cache().Delete(name, [this] { return ImagesInUse(); });
}

absl::StatusOr<std::vector<CachedImage>> Controller::PruneImages() {
  return images_.cache().Prune([this] { return ImagesInUse(); });
}

int Controller::machines() const {
  std::map<std::string, std::shared_ptr<Machine>> machines;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    machines = machines_;
  }
  int wanted = 0;
  for (const auto& [path, machine] : machines) wanted += machine->want_running() ? 1 : 0;
  return wanted;
}

}  // namespace rum
