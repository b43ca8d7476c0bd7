#include "controller/fleet/machine.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "agent-api/steady_now.h"
#include "agent-api/threads.h"
#include "controller/aspects/standing.h"
#include "controller/base/console_text.h"
#include "controller/decide/conditions.h"
#include "controller/decide/history.h"
#include "controller/decide/restart_policy.h"
#include "controller/decide/status.h"
#include "controller/decide/trust.h"
#include "controller/fleet/auto_ports.h"
#include "controller/reconcile/revive.h"
#include "state/paths.h"
#include "state/place.h"
#include "state/problem_text.h"
#include "state/surroundings.h"
#include "state/toml_reader.h"

namespace rum {
namespace {

constexpr char kGuestWritesFile[] =
    "the guest can write this file: values that reach the host are asked about whoever wrote them";
constexpr absl::Duration kStopGrace = absl::Seconds(30);
// In which most actions end.
constexpr std::chrono::seconds kNextStep(2);
// A link that was made just now gets a moment, so that the first status of a controller does not
// say "unreachable".
constexpr absl::Duration kFirstLook = absl::Seconds(2);
// What a status waits for guests' listeners that nobody has reached lately.
constexpr std::chrono::milliseconds kProbeLimit(300);
constexpr size_t kMostOfConsole = 1 << 20;
constexpr absl::Duration kAgentPatience = absl::Seconds(10);
constexpr std::chrono::seconds kLibvirtPatience(1);
// More for one that is being replaced, which a busy machine does not do in a moment.
constexpr absl::Duration kArrivalPatience = absl::Seconds(90);

// People made them to go back to: they are not lost by a word that does not name them.
ApplyOutcome HasSnapshots(const std::vector<std::string>& snapshots) {
  ApplyOutcome outcome = ApplyOutcome::Failed(absl::FailedPreconditionError(absl::StrCat(
      "the machine has snapshots, which are lost with it: ", absl::StrJoin(snapshots, ", "),
      "; `rum destroy --force` removes them all")));
  outcome.snapshots = snapshots;
  return outcome;
}

// What `rum provision` names must be there.
absl::Status HasScripts(const Config& desired, const ApplyOptions& options) {
  const bool system = options.rerun_system && !desired.provision().system().script().empty();
  const bool boot = options.rerun_boot && !desired.provision().boot().script().empty();
  if (system || boot || (!options.rerun_system && !options.rerun_boot)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the file has no ", options.rerun_system ? "provision.system.script" : "",
                   options.rerun_system && options.rerun_boot ? " and no " : "",
                   options.rerun_boot ? "provision.boot.script" : ""));
}

ApplyOutcome WithAsks(ApplyOutcome outcome, const std::vector<Ask>& asks) {
  for (const Ask& ask : asks) *outcome.plan.add_asks() = AskItem(ask);
  return outcome;
}

std::vector<ConsentedValue> ImagesAsked(const Config* config, const Surroundings& around) {
  std::vector<ConsentedValue> images;
  if (config == nullptr) return images;
  for (const Ask& ask : Withhold(*config, Consent(), around).asks) {
    if (ask.field == kImageField) images.push_back(ConsentTo(ask, 0));
  }
  return images;
}

// A machine that was made is ended where it is; of another one nothing is known but its file.
absl::Status MayEnd(const std::string& blocked, const MachineRecord& record) {
  if (blocked.empty() || record.generation() > 0) return absl::OkStatus();
  return absl::FailedPreconditionError(blocked);
}

void NoteStopped(absl::Time begun, MachineRecord* record) {
  Event event;
  event.set_time_ms(absl::ToUnixMillis(absl::Now()));
  event.set_kind(Event::DONE);
  event.set_field("domain");
  event.set_before("running");
  event.set_after("stopped");
  event.set_why("Stopped the machine");
  event.set_by("command");
  event.set_took_ms(absl::ToInt64Milliseconds(SteadyNow() - begun));
  record->set_phase(MachineStatus::Phase_Name(MachineStatus::STOPPED));
  record->set_phase_since_ms(event.time_ms());
  AddEvent(std::move(event), record);
}

// A new machine is made where whoever says `up` wants it, whoever started this controller.
void ChooseLibvirt(const Config& desired, const std::string& default_uri, MachineRecord* record) {
  if (record->applied().has_image() || !record->libvirt_uri().empty()) return;
  record->set_libvirt_default(default_uri);
  if (desired.advanced().libvirt_uri().empty()) record->set_libvirt_uri(default_uri);
}

// What is to be known where the environment names another libvirt than that of the machine; empty:
// it does not.
std::string OtherDefault(const Config& desired, const MachineRecord& record,
                         const std::string& default_uri) {
  if (!record.applied().has_image() || record.libvirt_uri().empty() ||
      !desired.advanced().libvirt_uri().empty() || default_uri == record.libvirt_default() ||
      default_uri == record.libvirt_uri()) {
    return "";
  }
  return absl::StrCat("made in ", record.libvirt_uri(), ", and stays there; LIBVIRT_DEFAULT_URI ",
                      default_uri.empty() ? "is not set now" : "now says " + default_uri);
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

// What a record of an older build lacks is as its defaults are: no change of the file.
MachineRecord Machine::TakenOver(MachineRecord record) const {
  const auto fill = [](Config* config) {
    if (config->reconcile().restart().empty()) config->mutable_reconcile()->set_restart("on-crash");
  };
  if (record.has_desired()) fill(record.mutable_desired());
  if (record.has_applied()) fill(record.mutable_applied());
  if (!record.consent_known()) {
    const std::string& path = links_.machine().config_path;
    const Config* const had = ConfigOf(record);
    // An image that counts as consented may be looked into, and is meant as it is.
    const std::vector<ConsentedValue> images = ImagesAsked(had, LookAround(path, {had}));
    TakeConsentOver(LookAround(path, {had}, images), absl::ToUnixMillis(absl::Now()), &record);
  }
  return record;
}

MachineRecord Machine::NewRecord() const {
  MachineRecord record;
  record.set_format(1);
  record.set_id(links_.machine().id);
  record.set_name(links_.machine().name);
  record.set_config_path(links_.machine().config_path);
  record.set_identity_rule(1);
  record.set_consent_known(true);
  record.set_networks_known(true);
  return record;
}

void Machine::TakeUp(MachineRecord record) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (loaded_ || record.id() != links_.machine().id) return;
  record_ = TakenOver(std::move(record));
  loaded_ = true;
  feed_.PublishEvents(record_);
}

absl::Status Machine::Ready() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return loaded_ ? absl::OkStatus() : Load();
}

// A damaged record has been set aside by the store: the machine goes on without memory and says so.
absl::Status Machine::Load() const {
  absl::StatusOr<MachineRecord> record = store_->Load(links_.machine().id);
  if (record.ok()) {
    record_ = TakenOver(*std::move(record));
  } else if (absl::IsDataLoss(record.status())) {
    load_error_ = std::string(record.status().message());
  } else if (!absl::IsNotFound(record.status())) {
    return record.status();
  }
  loaded_ = true;
  feed_.PublishEvents(record_);  // what happened before is history, and no news
  return absl::OkStatus();
}

MachineRecord Machine::Snapshot() const {
  (void)Ready();
  std::lock_guard<std::mutex> lock(mutex_);
  return record_;
}

bool Machine::UserNamed(const std::string& uri) const {
  const MachineRecord record = Snapshot();
  return uri == record.libvirt_default() ||
         (uri == record.libvirt_uri() && record.desired().advanced().libvirt_uri().empty());
}

bool Machine::want_running() const {
  (void)Ready();
  std::lock_guard<std::mutex> lock(mutex_);
  return record_.want_running();
}

bool Machine::GuestPushes() const {
  const std::shared_ptr<GuestAgent> agent = links_.agent();
  return agent == nullptr || agent->Pushes();
}

void Machine::Publish(const MachineRecord& record) const {
  std::lock_guard<std::mutex> lock(mutex_);
  record_ = record;
}

bool Machine::made() const {
  if (!Ready().ok()) return true;
  std::lock_guard<std::mutex> lock(mutex_);
  return record_.generation() > 0;
}

absl::Status Machine::MoveTo(const std::string& config_path) {
  const std::unique_lock<std::timed_mutex> changing = Turn({});
  if (absl::Status ready = Ready(); !ready.ok()) return ready;
  MachineRecord record = Snapshot();
  record.set_config_path(config_path);
  record.set_identity_rule(1);
  const ParsedConfig there = ReadTomlFile(config_path);
  (void)rum::NotePlace(config_path, there.text.empty() ? "" : Sha256Hex(there.text), &record);
  if (absl::Status saved = Publisher(*this).Save(record); !saved.ok()) return saved;
  MachineIdentity moved = links_.machine();
  moved.config_path = config_path;
  links_.Become(moved);
  PublishIfWatched();
  return absl::OkStatus();
}

absl::Status Machine::NotePlace(const std::string& text_hash, MachineRecord* record) const {
  if (!rum::NotePlace(links_.machine().config_path, text_hash, record)) return absl::OkStatus();
  return record->generation() > 0 ? Publisher(*this).Save(*record) : absl::OkStatus();
}

MachineStatus Machine::WithNotes(MachineStatus status, const MachineRecord& record) const {
  if (record.generation() > 0 && IsGone(record.config_path())) {
    status.add_notes(absl::StrCat("its file is gone: ", record.config_path(),
                                  "; the last good configuration stays. Where the ",
                                  "folder is now, `rum adopt` takes the machine over; `rum -m ",
                                  record.id(), "` names it anywhere"));
  }
  return status;
}

Machine::Wanted Machine::Desired(const std::vector<ConsentedValue>& also,
                                 const std::string& default_uri) const {
  const std::string& path = links_.machine().config_path;
  MachineRecord record = Snapshot();
  const ParsedConfig parsed = ReadTomlFile(path);
  const bool good = parsed.problems.empty();
  const Config said = good ? parsed.config : record.desired();
  const auto consent = [&] {
    Consent all = ConsentOf(record);
    all.given.insert(all.given.end(), also.begin(), also.end());
    return all;
  };
  Surroundings around = LookAround(path, {&said, consent().in_force}, consent().given);
  Withheld withheld = Withhold(said, consent(), around);
  Wanted wanted;
  if (NamesNetworks(said) && withheld.blocked_by.empty()) {
    MachineRecord there = record;
    ChooseLibvirt(withheld.config, default_uri, &there);
    wanted.libvirt = AskNetworks(UriOf(withheld.config, there), &record, &around);
    withheld = Withhold(said, consent(), around);
  }
  if (!parsed.text.empty()) wanted.text_hash = Sha256Hex(parsed.text);
  wanted.config = std::move(withheld.config);
  wanted.asks = std::move(withheld.asks);
  wanted.may_start = withheld.may_start;
  if (withheld.guest_writes_file && !wanted.asks.empty()) wanted.note = kGuestWritesFile;
  if (!withheld.blocked_by.empty()) wanted.blocked = WaitsForWord(wanted.asks, withheld.blocked_by);
  if (good) {
    // By the name that the machine was born with, wherever its folder is now.
    if (parsed.sources.count("network.hostname") == 0)
      wanted.config.mutable_network()->set_hostname(HostnameFrom(links_.machine().name));
    const std::string key = keys_.Find(links_.machine());
    if (!key.empty()) wanted.config.mutable_ssh()->add_authorized_keys(key);
    FillAutoPorts(links_.machine().id, record, CanBind, &wanted.config);
    return wanted;
  }
  const size_t slash = path.rfind('/');
  wanted.error = RenderProblems(slash == std::string::npos ? path : path.substr(slash + 1), parsed);
  return wanted;
}

std::unique_lock<std::timed_mutex> Machine::Turn(const EventSink& sink) {
  std::unique_lock<std::timed_mutex> changing(changing_, std::try_to_lock);
  if (changing.owns_lock()) return changing;
  if (sink.progress) sink.progress("waiting for what else changes this machine to end");
  changing.lock();
  return changing;
}

std::unique_lock<std::timed_mutex> Machine::TurnToStop(const EventSink& sink,
                                                       absl::Duration grace) {
  const MachineLinks::Interruption interruption(&links_);
  std::unique_lock<std::timed_mutex> changing(changing_, kNextStep);
  if (changing.owns_lock()) return changing;
  const Wanted wanted = Desired();
  if (!wanted.blocked.empty()) return Turn(sink);
  const absl::StatusOr<std::shared_ptr<Hypervisor>> hypervisor =
      links_.hypervisor(UriOf(wanted.config, Snapshot()));
  // Whoever has the turn finds it off; an error is met again when it is ours.
  if (hypervisor.ok()) (*hypervisor)->Stop(links_.machine(), grace).IgnoreError();
  return Turn(sink);
}

ApplyOutcome Machine::Apply(const ApplyOptions& asked, const EventSink& sink) {
  const std::unique_lock<std::timed_mutex> changing = Turn(sink);
  if (absl::Status ready = Ready(); !ready.ok()) return ApplyOutcome::Failed(ready);
  std::optional<MachineLinks::Taking> taking;
  if (asked.take_over) taking.emplace(&links_);
  if (!asked.dry_run) {
    if (absl::Status taken = TakeWord(asked.trust); !taken.ok()) return ApplyOutcome::Failed(taken);
  }
  const auto read_at = StatusFeed::Clock::now();
  Wanted wanted = Desired(asked.trust, asked.default_uri);
  if (asked.recorded && made() && IsGone(links_.machine().config_path)) wanted.error.clear();
  if (!wanted.error.empty()) return ApplyOutcome::Failed(absl::InvalidArgumentError(wanted.error));
  if (absl::Status waits = MayApply(asked, wanted); !waits.ok())
    return WithAsks(ApplyOutcome::Failed(waits), wanted.asks);
  if (absl::Status scripts = HasScripts(wanted.config, asked); !scripts.ok())
    return ApplyOutcome::Failed(scripts);
  if (asked.up && !asked.dry_run) {
    const absl::StatusOr<std::string> key = keys_.Make(links_.machine());
    if (!key.ok()) return ApplyOutcome::Failed(key.status());
    // The file is another one by now, maybe.
    wanted = Desired({}, asked.default_uri);
    if (absl::Status waits = MayApply(asked, wanted); !waits.ok())
      return WithAsks(ApplyOutcome::Failed(waits), wanted.asks);
  }
  if (!wanted.libvirt.ok()) return ApplyOutcome::Failed(wanted.libvirt);
  const Config& desired = wanted.config;
  ApplyOptions options = asked;
  options.asks = wanted.asks;
  Publisher publisher(*this);
  MachineRecord record = Snapshot();
  if (!options.dry_run) {
    if (absl::Status noted = NotePlace(wanted.text_hash, &record); !noted.ok())
      return ApplyOutcome::Failed(noted);
  }
  if (options.up) ChooseLibvirt(desired, options.default_uri, &record);
  const std::string elsewhere = OtherDefault(desired, record, options.default_uri);
  if (!elsewhere.empty() && sink.progress) sink.progress(elsewhere);
  RememberAutoPorts(desired, &record);
  ApplyOutcome outcome =
      Reconcile(links_, publisher, desired, options, Told(sink, read_at), &record);
  if (!options.dry_run) {
    Remember(outcome.errors);
    Collect(RunsOf(record));
    PublishIfWatched();
  }
  return WithAsks(std::move(outcome), wanted.asks);
}

absl::Status Machine::Background(const EventSink& sink,
                                 const std::function<bool()>& being_written) {
  // A worker must not wait for an apply that may take minutes: it comes again.
  std::unique_lock<std::timed_mutex> changing(changing_, std::try_to_lock);
  if (!changing.owns_lock()) return absl::AbortedError("the machine is being changed");
  if (absl::Status ready = Ready(); !ready.ok()) return ready;
  if (!want_running()) {
    PublishIfWatched();
    return absl::OkStatus();
  }
  ApplyOptions options;
  options.retry_failed = false;
  options.agent_patience = absl::ZeroDuration();
  options.boot_patience = absl::ZeroDuration();
  const auto read_at = StatusFeed::Clock::now();
  const Wanted wanted = Desired();
  const Config& desired = wanted.config;
  MachineRecord record = Snapshot();
  options.config_error = wanted.error;
  options.asks = wanted.asks;
  // Asked after it was read: before, a writer could begin in between.
  if (being_written && being_written()) return absl::AbortedError("the file is being written");
  if (absl::Status noted = NotePlace(wanted.text_hash, &record); !noted.ok()) return noted;
  if (!wanted.blocked.empty()) {
    links_.Close();
    PublishIfWatched();
    return absl::FailedPreconditionError(wanted.blocked);
  }
  if (!wanted.libvirt.ok()) {
    PublishIfWatched();
    return wanted.libvirt;
  }
  options.revive = wanted.may_start;
  options.controller_started = !seen_;
  options.now = links_.now();
  if (!desired.reconcile().auto_()) {
    const absl::Status reported = OnlyReport(desired, options, read_at, sink, std::move(record));
    PublishIfWatched();
    return reported;
  }
  Publisher publisher(*this);
  if (options.config_error.empty()) RememberAutoPorts(desired, &record);
  const ApplyOutcome outcome =
      Reconcile(links_, publisher, desired, options, Told(sink, read_at), &record);
  const auto& waiting = outcome.plan.waiting();
  items_waiting_ = waiting.size();
  restarts_awaited_ =
      static_cast<int>(std::count_if(waiting.begin(), waiting.end(), [](const Change& change) {
        return change.effect() == RESTART || change.effect() == RECREATE;
      }));
  if (outcome.looked) seen_ = true;
  NoteNextStart(outcome.next_start);
  Remember(outcome.errors);
  Collect(RunsOf(record));
  PublishIfWatched();
  return outcome.status;
}

void Machine::NoteNextStart(absl::Time at) {
  next_start_ms_ = at == absl::InfiniteFuture() ? kNoStart : absl::ToUnixMillis(at);
}

absl::Status Machine::OnlyReport(const Config& desired, const ApplyOptions& options,
                                 StatusFeed::Clock::time_point read_at, const EventSink& sink,
                                 MachineRecord record) {
  absl::StatusOr<Observed> observed = links_.Look(desired, record, absl::ZeroDuration());
  if (!observed.ok()) return observed.status();
  seen_ = true;
  Publisher publisher(*this);
  const Revival revival =
      options.revive ? Revive(links_, publisher, desired, *observed, options, sink, &record)
                     : Revival();
  NoteNextStart(revival.next);
  if (revival.tried) {
    observed = links_.Look(desired, record, absl::ZeroDuration());
    if (!observed.ok()) return observed.status();
  }
  if (observed->guest.has_value()) Collect(observed->guest->runs());
  const absl::Status restored = RestorePorts(*observed, record);
  if (links_.has_listeners()) observed->forwards = links_.OpenListeners()->Observe();
  const int64_t now = absl::ToUnixMillis(options.now ? options.now() : absl::Now());
  const MachineStatus status =
      MakeStatus(desired, record, *observed, now, options.config_error, options.asks);
  if (NoteReport(status, false, now, &record) || revival.tried) {
    if (absl::Status saved = publisher.Save(record); !saved.ok()) return saved;
  }
  feed_.Publish(WithNotes(status, record), read_at);
  feed_.PublishEvents(record);
  return revival.status.ok() ? restored : revival.status;
}

absl::Status Machine::RestorePorts(const Observed& observed, const MachineRecord& record) {
  if (!observed.domain.running || links_.has_listeners()) return absl::OkStatus();
  std::vector<Forward> forwards;
  const Surroundings around = LookAround(links_.machine().config_path, {&record.applied()});
  for (const Port& port : ConsentedPorts(record.applied(), record, around)) {
    forwards.push_back({port.bind().empty() ? "127.0.0.1" : port.bind(),
                        static_cast<uint16_t>(port.host()), static_cast<uint16_t>(port.guest())});
  }
  for (const ForwardState& state : links_.OpenListeners()->Apply(forwards)) {
    if (!state.bound.ok()) return absl::UnavailableError(state.bound.message());
  }
  return absl::OkStatus();
}

MachineStatus Machine::Status(const std::string* default_uri, bool* seen) {
  const absl::Status ready = Ready();
  const Wanted wanted = Desired();
  const Config& desired = wanted.config;
  const MachineRecord record = Snapshot();
  if (!wanted.blocked.empty()) {
    if (seen != nullptr) *seen = false;
    return WithNotes(Blocked(wanted, record, absl::ToUnixMillis(absl::Now())), record);
  }
  const bool first = links_.agent() == nullptr;
  if (const auto listeners = links_.listeners(); listeners != nullptr) {
    listeners->Probe(kProbeLimit);
  }
  absl::StatusOr<Observed> observed =
      links_.Look(desired, record, first ? kFirstLook : absl::ZeroDuration());
  const int64_t now = absl::ToUnixMillis(absl::Now());
  MachineStatus status = MakeStatus(desired, record, observed.ok() ? *observed : Observed(), now,
                                    wanted.error, wanted.asks, RememberedFailures());
  if (seen != nullptr) *seen = observed.ok();
  if (!observed.ok()) {
    // Not "not defined": nobody can tell now. What is somebody else's is not this machine.
    status.set_phase(absl::IsPermissionDenied(observed.status()) ? MachineStatus::NOT_DEFINED
                                                                 : MachineStatus::UNREACHABLE);
    status.clear_phase_reason();
    status.clear_phase_since_ms();
    status.clear_phase_remedy();
    status.set_error(std::string(observed.status().message()));
  } else if (!ready.ok()) {
    status.set_error(std::string(ready.message()));
  } else {
    std::lock_guard<std::mutex> lock(mutex_);
    status.set_error(load_error_);
  }
  SetConditions(record, now, &status);  // which speak of the error as well
  if (!wanted.note.empty()) status.add_notes(wanted.note);
  if (default_uri != nullptr) {
    const std::string elsewhere = OtherDefault(desired, record, *default_uri);
    if (!elsewhere.empty()) status.add_notes(elsewhere);
  }
  return WithNotes(std::move(status), record);
}

ApplyOutcome Machine::Down(const EventSink& sink, bool force) {
  std::optional<MachineLinks::Taking> taking;
  if (force) taking.emplace(&links_);
  const std::unique_lock<std::timed_mutex> changing = TurnToStop(sink, kStopGrace);
  if (absl::Status ready = Ready(); !ready.ok()) return ApplyOutcome::Failed(ready);
  const Wanted wanted = Desired();
  MachineRecord record = Snapshot();
  if (absl::Status waits = MayEnd(wanted.blocked, record); !waits.ok())
    return ApplyOutcome::Failed(waits);
  const Config& desired = wanted.config;
  if (record.want_running()) {
    // First: a controller that dies now must not bring the ports back.
    record.set_want_running(false);
    ForgetRestarts(&record);
    absl::Status saved = Publisher(*this).Save(record);
    if (!saved.ok()) return ApplyOutcome::Failed(saved);
  }
  absl::StatusOr<Observed> observed = links_.Look(desired, record, absl::ZeroDuration());
  if (!observed.ok()) return ApplyOutcome::Failed(observed.status());
  ApplyOutcome outcome;
  outcome.already_running = observed->domain.running;
  links_.Close();
  if (!observed->domain.running) return outcome;
  absl::StatusOr<std::shared_ptr<Hypervisor>> hypervisor =
      links_.hypervisor(UriOf(desired, record));
  if (!hypervisor.ok()) return ApplyOutcome::Failed(hypervisor.status());
  if (sink.progress) sink.progress("stopping the machine");
  const absl::Time begun = SteadyNow();
  absl::Status stopped = (*hypervisor)->Stop(links_.machine(), kStopGrace);
  if (!stopped.ok()) return ApplyOutcome::Failed(stopped);
  NoteStopped(begun, &record);
  if (absl::Status saved = Publisher(*this).Save(record); !saved.ok())
    return ApplyOutcome::Failed(saved);
  feed_.PublishEvents(record);
  PublishIfWatched();
  return outcome;
}

ApplyOutcome Machine::Destroy(const EventSink& sink, bool force) {
  std::optional<MachineLinks::Taking> taking;
  if (force) taking.emplace(&links_);
  const std::unique_lock<std::timed_mutex> changing = TurnToStop(sink, absl::ZeroDuration());
  if (absl::Status ready = Ready(); !ready.ok()) return ApplyOutcome::Failed(ready);
  const Wanted wanted = Desired();
  const MachineRecord record = Snapshot();
  if (absl::Status waits = MayEnd(wanted.blocked, record); !waits.ok())
    return ApplyOutcome::Failed(waits);
  absl::StatusOr<std::shared_ptr<Hypervisor>> hypervisor =
      links_.hypervisor(UriOf(wanted.config, record));
  if (!hypervisor.ok()) return ApplyOutcome::Failed(hypervisor.status());
  if (!force) {
    const absl::StatusOr<DomainState> domain = (*hypervisor)->Inspect(links_.machine());
    if (!domain.ok()) return ApplyOutcome::Failed(domain.status());
    if (!domain->snapshots.empty()) return HasSnapshots(domain->snapshots);
  }
  if (sink.progress) sink.progress("removing the machine");
  links_.Close();
  absl::StatusOr<Removal> removal = (*hypervisor)->Remove(links_.machine());
  if (!removal.ok()) return ApplyOutcome::Failed(removal.status());
  const absl::StatusOr<bool> key_removed = keys_.Remove(links_.machine());
  if (!key_removed.ok()) return ApplyOutcome::Failed(key_removed.status());
  if (*key_removed) {
    removal->removed.push_back(absl::StrCat("ssh key ", keys_.PrivatePath(links_.machine())));
  }
  if (links_.runs() != nullptr) links_.runs()->Remove(links_.machine().id);
  // The record last: it is what knows of the rest.
  absl::Status forgotten = store_->Remove(links_.machine().id);
  if (!forgotten.ok()) return ApplyOutcome::Failed(forgotten);
  MachineRecord fresh = NewRecord();
  fresh.set_last_event(record.last_event());  // for those who watch
  Publish(fresh);
  PublishIfWatched();
  ApplyOutcome outcome;
  outcome.removed = std::move(removal->removed);
  outcome.kept = std::move(removal->kept);
  return outcome;
}

absl::Status Machine::Stands() const {
  const absl::StatusOr<std::shared_ptr<Hypervisor>> hypervisor = Libvirt();
  if (!hypervisor.ok()) return absl::OkStatus();  // the agent may answer all the same
  const auto told = std::make_shared<std::promise<absl::StatusOr<DomainState>>>();
  std::future<absl::StatusOr<DomainState>> answer = told->get_future();
  absl::StatusOr<std::thread> asking =
      StartThread([told, hypervisor = *hypervisor, machine = links_.machine()] {
        told->set_value(hypervisor->Inspect(machine));
      });
  if (!asking.ok()) return asking.status();
  asking->detach();
  if (answer.wait_for(kLibvirtPatience) != std::future_status::ready) return absl::OkStatus();
  const absl::StatusOr<DomainState> domain = answer.get();
  if (!domain.ok() || (domain->running && !domain->paused)) return absl::OkStatus();
  Observed observed;
  observed.domain = *domain;
  return absl::UnavailableError(StandingText(links_.machine().name, StandingOf(observed)));
}

absl::StatusOr<GuestAccess> Machine::Guest() {
  std::shared_ptr<GuestAgent> agent = links_.agent();
  if (agent != nullptr) {
    if (absl::Status stands = Stands(); !stands.ok()) return stands;
  } else {
    const Wanted wanted = Desired();
    if (!wanted.blocked.empty()) return absl::FailedPreconditionError(wanted.blocked);
    absl::StatusOr<Observed> observed =
        links_.Look(wanted.config, Snapshot(), absl::ZeroDuration());
    if (!observed.ok()) return observed.status();
    agent = links_.agent();
    if (agent == nullptr || observed->domain.paused) {
      return absl::UnavailableError(StandingText(links_.machine().name, StandingOf(*observed)));
    }
  }
  absl::Status there = agent->WaitConnected(kAgentPatience);
  const absl::Time limit = SteadyNow() + kArrivalPatience;
  while (!there.ok() && agent->Arriving() && SteadyNow() < limit) {
    there = agent->WaitConnected(absl::Seconds(1));
  }
  if (!there.ok()) {
    if (absl::Status stands = Stands(); !stands.ok()) return stands;
    return absl::UnavailableError(there.message());
  }
  GuestAccess access;
  access.agent = agent;
  const MachineRecord record = Snapshot();
  for (const Mount& mount : record.applied().mounts()) {
    if (mount.default_()) access.folder = mount.target();
    access.mounts.push_back(mount);
  }
  return access;
}

// Asks nobody, so that a libvirt that hangs keeps no ssh.
Ssh Machine::SshOfFile() const {
  const ParsedConfig parsed = ReadTomlFile(links_.machine().config_path);
  return parsed.problems.empty() ? parsed.config.ssh() : Snapshot().desired().ssh();
}

absl::StatusOr<std::shared_ptr<Hypervisor>> Machine::Libvirt() const {
  const MachineRecord record = Snapshot();
  return links_.hypervisor(UriOf(record.desired(), record));
}

absl::StatusOr<int> Machine::Console(bool force) const {
  const absl::StatusOr<std::shared_ptr<Hypervisor>> hypervisor = Libvirt();
  if (!hypervisor.ok()) return hypervisor.status();
  const absl::StatusOr<int> console = (*hypervisor)->OpenConsole(links_.machine(), force);
  if (!absl::IsUnavailable(console.status())) return console;
  const absl::Status stands = Stands();  // says more of one that is off
  return stands.ok() ? console : stands;
}

absl::StatusOr<std::string> Machine::ConsoleEnd(size_t lines) const {
  const absl::StatusOr<std::shared_ptr<Hypervisor>> hypervisor = Libvirt();
  if (!hypervisor.ok()) return hypervisor.status();
  const absl::StatusOr<std::string> said =
      (*hypervisor)->ConsoleLog(links_.machine(), kMostOfConsole);
  return said.ok() ? LastConsoleLines(*said, lines) : said;
}

absl::StatusOr<SshAccess> Machine::SshToGuest() {
  absl::StatusOr<GuestAccess> guest = Guest();
  if (!guest.ok()) return guest.status();
  return SshAccess{*std::move(guest), links_.machine(), SshOfFile(),
                   keys_.PrivatePath(links_.machine())};
}

}  // namespace rum
