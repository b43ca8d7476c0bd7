#include "controller/machine.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "controller/auto_ports.h"
#include "state/toml_reader.h"

namespace rum {
namespace {

constexpr absl::Duration kStopGrace = absl::Seconds(30);
// A link that was made just now gets a moment, so that the first status of a controller does not
// say "unreachable".
constexpr absl::Duration kFirstLook = absl::Seconds(2);
// What a status waits for guests' listeners that nobody has reached lately.
constexpr std::chrono::milliseconds kProbeLimit(300);
constexpr absl::Duration kAgentPatience = absl::Seconds(10);

ApplyOutcome Failed(const absl::Status& status) {
  ApplyOutcome outcome;
  outcome.failed = true;
  outcome.status = status;
  outcome.error = std::string(status.message());
  return outcome;
}

}  // namespace

// Saves a record and then lets the others see it, so that a status during a long apply is right.
class Machine::Publisher : public StateStore {
 public:
  explicit Publisher(const Machine& machine) : machine_(machine) {}
  absl::StatusOr<MachineRecord> Load(const std::string& id) override {
    return machine_.store_->Load(id);
  }
  absl::Status Save(const MachineRecord& record) override {
    absl::Status saved = machine_.store_->Save(record);
    if (saved.ok()) machine_.Publish(record);
    return saved;
  }
  absl::Status Remove(const std::string& id) override { return machine_.store_->Remove(id); }
  absl::StatusOr<std::vector<std::string>> List() override { return machine_.store_->List(); }

 private:
  const Machine& machine_;
};

Machine::Machine(MachineIdentity identity, LinkSources sources, StateStore* store, MachineKeys keys,
                 std::function<void()> on_change)
    : store_(store),
      keys_(std::move(keys)),
      links_(std::move(identity), std::move(sources), std::move(on_change)),
      record_(NewRecord()) {}

MachineRecord Machine::NewRecord() const {
  MachineRecord record;
  record.set_format(1);
  record.set_id(links_.machine().id);
  record.set_name(links_.machine().name);
  record.set_config_path(links_.machine().config_path);
  return record;
}

absl::Status Machine::Ready() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return loaded_ ? absl::OkStatus() : Load();
}

// A damaged record has been set aside by the store: the machine goes on without memory and says so.
absl::Status Machine::Load() const {
  absl::StatusOr<MachineRecord> record = store_->Load(links_.machine().id);
  if (record.ok()) {
    record_ = *std::move(record);
  } else if (absl::IsDataLoss(record.status())) {
    load_error_ = std::string(record.status().message());
  } else if (!absl::IsNotFound(record.status())) {
    return record.status();
  }
  loaded_ = true;
  return absl::OkStatus();
}

MachineRecord Machine::Snapshot() const {
  (void)Ready();
  std::lock_guard<std::mutex> lock(mutex_);
  return record_;
}

void Machine::Publish(const MachineRecord& record) const {
  std::lock_guard<std::mutex> lock(mutex_);
  record_ = record;
}

Config Machine::Desired(std::string* error) const {
  const std::string& path = links_.machine().config_path;
  ParsedConfig parsed = ReadTomlFile(path);
  if (parsed.problems.empty()) {
    const std::string key = keys_.Find(links_.machine());
    if (!key.empty()) parsed.config.mutable_ssh()->add_authorized_keys(key);
    FillAutoPorts(links_.machine().id, Snapshot(), CanBind, &parsed.config);
    return std::move(parsed.config);
  }
  const size_t slash = path.rfind('/');
  *error = RenderProblems(slash == std::string::npos ? path : path.substr(slash + 1), parsed);
  return Snapshot().desired();
}

std::unique_lock<std::mutex> Machine::Turn(const EventSink& sink) {
  std::unique_lock<std::mutex> changing(changing_, std::try_to_lock);
  if (changing.owns_lock()) return changing;
  if (sink.progress) sink.progress("waiting for what else changes this machine to end");
  changing.lock();
  return changing;
}

std::unique_lock<std::mutex> Machine::TurnToStop(const EventSink& sink) {
  const MachineLinks::Interruption interruption(&links_);
  return Turn(sink);
}

ApplyOutcome Machine::Apply(const ApplyOptions& options, const EventSink& sink) {
  const std::unique_lock<std::mutex> changing = Turn(sink);
  if (absl::Status ready = Ready(); !ready.ok()) return Failed(ready);
  std::string error;
  Config desired = Desired(&error);
  if (!error.empty()) return Failed(absl::InvalidArgumentError(error));
  if (options.up && !options.dry_run) {
    const absl::StatusOr<std::string> key = keys_.Make(links_.machine());
    if (!key.ok()) return Failed(key.status());
    desired = Desired(&error);
  }
  Publisher publisher(*this);
  MachineRecord record = Snapshot();
  RememberAutoPorts(desired, &record);
  return Reconcile(links_, publisher, desired, options, sink, &record);
}

absl::Status Machine::Background(const EventSink& sink) {
  // A worker must not wait for an apply that may take minutes: it comes again.
  std::unique_lock<std::mutex> changing(changing_, std::try_to_lock);
  if (!changing.owns_lock()) return absl::AbortedError("the machine is being changed");
  if (absl::Status ready = Ready(); !ready.ok()) return ready;
  MachineRecord record = Snapshot();
  if (!record.want_running()) return absl::OkStatus();
  std::string error;
  const Config desired = Desired(&error);
  if (!desired.reconcile().auto_()) return RestorePorts(desired, record);
  if (error.empty()) RememberAutoPorts(desired, &record);
  ApplyOptions options;
  options.retry_failed = false;
  options.agent_patience = absl::ZeroDuration();
  Publisher publisher(*this);
  return Reconcile(links_, publisher, desired, options, sink, &record).status;
}

absl::Status Machine::RestorePorts(const Config& desired, const MachineRecord& record) {
  absl::StatusOr<Observed> observed = links_.Look(desired, record, absl::ZeroDuration());
  if (!observed.ok()) return observed.status();
  if (!observed->domain.running || links_.has_listeners()) return absl::OkStatus();
  std::vector<Forward> forwards;
  for (const Port& port : record.applied().ports()) {
    forwards.push_back({port.bind().empty() ? "127.0.0.1" : port.bind(),
                        static_cast<uint16_t>(port.host()), static_cast<uint16_t>(port.guest())});
  }
  for (const ForwardState& state : links_.OpenListeners()->Apply(forwards)) {
    if (!state.bound.ok()) return absl::UnavailableError(state.bound.message());
  }
  return absl::OkStatus();
}

MachineStatus Machine::Status() {
  const absl::Status ready = Ready();
  std::string problems;
  const Config desired = Desired(&problems);
  const MachineRecord record = Snapshot();
  const bool first = links_.agent() == nullptr;
  if (const auto listeners = links_.listeners(); listeners != nullptr) {
    listeners->Probe(kProbeLimit);
  }
  absl::StatusOr<Observed> observed =
      links_.Look(desired, record, first ? kFirstLook : absl::ZeroDuration());
  MachineStatus status = MakeStatus(desired, record, observed.ok() ? *observed : Observed());
  status.set_config_error(problems);
  if (!observed.ok()) {
    // Not "not defined": nobody can tell now.
    status.set_phase(MachineStatus::UNREACHABLE);
    status.set_error(std::string(observed.status().message()));
  } else if (!ready.ok()) {
    status.set_error(std::string(ready.message()));
  } else {
    std::lock_guard<std::mutex> lock(mutex_);
    status.set_error(load_error_);
  }
  return status;
}

ApplyOutcome Machine::Down(const EventSink& sink) {
  const std::unique_lock<std::mutex> changing = TurnToStop(sink);
  if (absl::Status ready = Ready(); !ready.ok()) return Failed(ready);
  std::string ignored;
  const Config desired = Desired(&ignored);
  MachineRecord record = Snapshot();
  if (record.want_running()) {
    // First: a controller that dies now must not bring the ports back.
    record.set_want_running(false);
    absl::Status saved = Publisher(*this).Save(record);
    if (!saved.ok()) return Failed(saved);
  }
  absl::StatusOr<Observed> observed = links_.Look(desired, record, absl::ZeroDuration());
  if (!observed.ok()) return Failed(observed.status());
  ApplyOutcome outcome;
  outcome.already_running = observed->domain.running;
  links_.Close();
  if (!observed->domain.running) return outcome;
  absl::StatusOr<std::shared_ptr<Hypervisor>> hypervisor =
      links_.hypervisor(UriOf(desired, record));
  if (!hypervisor.ok()) return Failed(hypervisor.status());
  if (sink.progress) sink.progress("stopping the machine");
  absl::Status stopped = (*hypervisor)->Stop(links_.machine(), kStopGrace);
  return stopped.ok() ? outcome : Failed(stopped);
}

ApplyOutcome Machine::Destroy(const EventSink& sink) {
  const std::unique_lock<std::mutex> changing = TurnToStop(sink);
  if (absl::Status ready = Ready(); !ready.ok()) return Failed(ready);
  std::string ignored;
  const Config desired = Desired(&ignored);
  const MachineRecord record = Snapshot();
  absl::StatusOr<std::shared_ptr<Hypervisor>> hypervisor =
      links_.hypervisor(UriOf(desired, record));
  if (!hypervisor.ok()) return Failed(hypervisor.status());
  if (sink.progress) sink.progress("removing the machine");
  links_.Close();
  absl::StatusOr<std::vector<std::string>> removed = (*hypervisor)->Remove(links_.machine());
  if (!removed.ok()) return Failed(removed.status());
  const absl::StatusOr<bool> key_removed = keys_.Remove(links_.machine());
  if (!key_removed.ok()) return Failed(key_removed.status());
  if (*key_removed) {
    removed->push_back(absl::StrCat("ssh key ", keys_.PrivatePath(links_.machine())));
  }
  // The record last: it is what knows of the rest.
  absl::Status forgotten = store_->Remove(links_.machine().id);
  if (!forgotten.ok()) return Failed(forgotten);
  Publish(NewRecord());
  ApplyOutcome outcome;
  outcome.removed = *std::move(removed);
  return outcome;
}

absl::StatusOr<GuestAccess> Machine::Guest() {
  std::shared_ptr<GuestAgent> agent = links_.agent();
  if (agent == nullptr) {
    std::string ignored;
    absl::StatusOr<Observed> observed =
        links_.Look(Desired(&ignored), Snapshot(), absl::ZeroDuration());
    if (!observed.ok()) return observed.status();
    agent = links_.agent();
  }
  if (agent == nullptr) {
    return absl::UnavailableError(absl::StrCat(links_.machine().name, " is not running"));
  }
  if (!agent->WaitConnected(kAgentPatience).ok()) {
    return absl::UnavailableError("the agent in the guest does not answer");
  }
  GuestAccess access{agent, ""};
  const MachineRecord record = Snapshot();
  for (const Mount& mount : record.applied().mounts()) {
    if (mount.default_()) access.folder = mount.target();
  }
  return access;
}

}  // namespace rum
