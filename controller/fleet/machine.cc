#include "controller/fleet/machine.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "agent-api/steady_now.h"
#include "controller/decide/conditions.h"
#include "controller/decide/history.h"
#include "controller/decide/restart_policy.h"
#include "controller/decide/status.h"
#include "controller/decide/trust.h"
#include "controller/fleet/auto_ports.h"
#include "controller/reconcile/revive.h"
#include "state/place.h"
#include "state/surroundings.h"
#include "state/toml_reader.h"

namespace rum {
namespace {

constexpr absl::Duration kStopGrace = absl::Seconds(30);
// In which most actions end.
constexpr std::chrono::seconds kNextStep(2);
// A link that was made just now gets a moment, so that the first status of a controller does not
// say "unreachable".
constexpr absl::Duration kFirstLook = absl::Seconds(2);
// What a status waits for guests' listeners that nobody has reached lately.
constexpr std::chrono::milliseconds kProbeLimit(300);

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

Machine::Machine(MachineIdentity identity, LinkSources sources, StateStore* store, MachineKeys keys,
                 std::function<void()> on_change)
    : keys_(std::move(keys)),
      links_(std::move(identity), std::move(sources), std::move(on_change)),
      // What happened before is history, and no news.
      record_(
          links_.machine(), store, [this] { return links_.machine().config_path; },
          [this](const MachineRecord& record) { feed_.PublishEvents(record); }),
      file_(&links_, &record_, keys_),
      access_(&links_, &record_, &file_, keys_),
      archive_(&links_, &record_, &file_) {}

bool Machine::UserNamed(const std::string& uri) const {
  const MachineRecord record = record_.Get();
  return uri == record.libvirt_default() ||
         (uri == record.libvirt_uri() && record.desired().advanced().libvirt_uri().empty());
}

bool Machine::GuestPushes() const {
  const std::shared_ptr<GuestAgent> agent = links_.agent();
  return agent == nullptr || agent->Pushes();
}

absl::Status Machine::MoveTo(const std::string& config_path) {
  const std::unique_lock<std::timed_mutex> changing = Turn({});
  if (absl::Status ready = record_.Ready(); !ready.ok()) return ready;
  MachineRecord record = record_.Get();
  record.set_config_path(config_path);
  record.set_identity_rule(1);
  const ParsedConfig there = ReadTomlFile(config_path);
  (void)NotePlace(config_path, there.text.empty() ? "" : Sha256Hex(there.text), &record);
  if (absl::Status saved = record_.Save(record); !saved.ok()) return saved;
  MachineIdentity moved = links_.machine();
  moved.config_path = config_path;
  links_.Become(moved);
  PublishIfWatched();
  return absl::OkStatus();
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
  const Wanted wanted = file_.Read();
  if (!wanted.blocked.empty()) return Turn(sink);
  const absl::StatusOr<std::shared_ptr<Hypervisor>> hypervisor =
      links_.hypervisor(UriOf(wanted.config, record_.Get()));
  // Whoever has the turn finds it off; an error is met again when it is ours.
  if (hypervisor.ok()) (*hypervisor)->Stop(links_.machine(), grace).IgnoreError();
  return Turn(sink);
}

ApplyOutcome Machine::Apply(const ApplyOptions& asked, const EventSink& sink) {
  // Who only asks waits for nobody, but to be let in to another user's machine.
  const bool only_asks = asked.dry_run && !asked.take_over;
  const std::unique_lock<std::timed_mutex> changing =
      only_asks ? std::unique_lock<std::timed_mutex>() : Turn(sink);
  if (absl::Status ready = record_.Ready(); !ready.ok()) return ApplyOutcome::Failed(ready);
  std::optional<MachineLinks::Taking> taking;
  if (asked.take_over) taking.emplace(&links_);
  if (!asked.dry_run) {
    if (absl::Status taken = TakeWord(asked.trust); !taken.ok()) return ApplyOutcome::Failed(taken);
  }
  const auto read_at = StatusFeed::Clock::now();
  Wanted wanted = file_.Read(asked.trust, asked.default_uri);
  if (asked.recorded && record_.made() && IsGone(links_.machine().config_path))
    wanted.error.clear();
  if (!wanted.error.empty()) return ApplyOutcome::Failed(absl::InvalidArgumentError(wanted.error));
  if (absl::Status waits = wanted.MayApply(asked); !waits.ok())
    return WithAsks(ApplyOutcome::Failed(waits), wanted.asks);
  if (absl::Status scripts = HasScripts(wanted.config, asked); !scripts.ok())
    return ApplyOutcome::Failed(scripts);
  if (asked.up && !asked.dry_run) {
    const absl::StatusOr<std::string> key = keys_.Make(links_.machine());
    if (!key.ok()) return ApplyOutcome::Failed(key.status());
    // The file is another one by now, maybe.
    wanted = file_.Read({}, asked.default_uri);
    if (absl::Status waits = wanted.MayApply(asked); !waits.ok())
      return WithAsks(ApplyOutcome::Failed(waits), wanted.asks);
  }
  if (!wanted.libvirt.ok()) return ApplyOutcome::Failed(wanted.libvirt);
  const Config& desired = wanted.config;
  ApplyOptions options = asked;
  options.asks = wanted.asks;
  MachineRecord record = record_.Get();
  if (!options.dry_run) {
    if (absl::Status noted = file_.NotePlace(wanted.text_hash, &record); !noted.ok())
      return ApplyOutcome::Failed(noted);
  }
  if (options.up) ChooseLibvirt(desired, options.default_uri, &record);
  const std::string elsewhere = OtherDefault(desired, record, options.default_uri);
  if (!elsewhere.empty() && sink.progress) sink.progress(elsewhere);
  RememberAutoPorts(desired, &record);
  ApplyOutcome outcome = Reconcile(links_, record_, desired, options, Told(sink, read_at), &record);
  if (!options.dry_run) {
    Remember(outcome.errors);
    archive_.Collect(record);
    PublishIfWatched();
  }
  return WithAsks(std::move(outcome), wanted.asks);
}

absl::Status Machine::Background(const EventSink& sink,
                                 const std::function<bool()>& being_written) {
  // A worker must not wait for an apply that may take minutes: it comes again.
  std::unique_lock<std::timed_mutex> changing(changing_, std::try_to_lock);
  if (!changing.owns_lock()) return absl::AbortedError("the machine is being changed");
  if (absl::Status ready = record_.Ready(); !ready.ok()) return ready;
  if (!record_.want_running()) {
    PublishIfWatched();
    return absl::OkStatus();
  }
  ApplyOptions options;
  options.retry_failed = false;
  options.agent_patience = absl::ZeroDuration();
  options.boot_patience = absl::ZeroDuration();
  const auto read_at = StatusFeed::Clock::now();
  const Wanted wanted = file_.Read();
  const Config& desired = wanted.config;
  MachineRecord record = record_.Get();
  options.config_error = wanted.error;
  options.asks = wanted.asks;
  // Asked after it was read: before, a writer could begin in between.
  if (being_written && being_written()) return absl::AbortedError("the file is being written");
  if (absl::Status noted = file_.NotePlace(wanted.text_hash, &record); !noted.ok()) return noted;
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
  if (options.config_error.empty()) RememberAutoPorts(desired, &record);
  const ApplyOutcome outcome =
      Reconcile(links_, record_, desired, options, Told(sink, read_at), &record);
  const auto& waiting = outcome.plan.waiting();
  items_waiting_ = waiting.size();
  restarts_awaited_ =
      static_cast<int>(std::count_if(waiting.begin(), waiting.end(), [](const Change& change) {
        return change.effect() == RESTART || change.effect() == RECREATE;
      }));
  if (outcome.looked) seen_ = true;
  NoteNextStart(outcome.next_start);
  Remember(outcome.errors);
  archive_.Collect(record);
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
  const Revival revival = options.revive
                              ? Revive(links_, record_, desired, *observed, options, sink, &record)
                              : Revival();
  NoteNextStart(revival.next);
  if (revival.tried) {
    observed = links_.Look(desired, record, absl::ZeroDuration());
    if (!observed.ok()) return observed.status();
  }
  if (observed->guest.has_value()) archive_.Collect(observed->guest->runs());
  const absl::Status restored = RestorePorts(*observed, record);
  if (links_.has_listeners()) observed->forwards = links_.OpenListeners()->Observe();
  const int64_t now = absl::ToUnixMillis(options.now ? options.now() : absl::Now());
  const MachineStatus status =
      MakeStatus(desired, record, *observed, now, options.config_error, options.asks);
  if (NoteReport(status, false, now, &record) || revival.tried) {
    if (absl::Status saved = record_.Save(record); !saved.ok()) return saved;
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
  const absl::Status ready = record_.Ready();
  const Wanted wanted = file_.Read();
  const Config& desired = wanted.config;
  const MachineRecord record = record_.Get();
  if (!wanted.blocked.empty()) {
    if (seen != nullptr) *seen = false;
    return WithNotes(wanted.BlockedStatus(record, absl::ToUnixMillis(absl::Now())), record);
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
    status.set_error(record_.load_error());
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
  if (absl::Status ready = record_.Ready(); !ready.ok()) return ApplyOutcome::Failed(ready);
  const Wanted wanted = file_.Read();
  MachineRecord record = record_.Get();
  if (absl::Status waits = MayEnd(wanted.blocked, record); !waits.ok())
    return ApplyOutcome::Failed(waits);
  const Config& desired = wanted.config;
  if (record.want_running()) {
    // First: a controller that dies now must not bring the ports back.
    record.set_want_running(false);
    ForgetRestarts(&record);
    absl::Status saved = record_.Save(record);
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
  if (absl::Status saved = record_.Save(record); !saved.ok()) return ApplyOutcome::Failed(saved);
  feed_.PublishEvents(record);
  PublishIfWatched();
  return outcome;
}

ApplyOutcome Machine::Destroy(const EventSink& sink, bool force) {
  std::optional<MachineLinks::Taking> taking;
  if (force) taking.emplace(&links_);
  const std::unique_lock<std::timed_mutex> changing = TurnToStop(sink, absl::ZeroDuration());
  if (absl::Status ready = record_.Ready(); !ready.ok()) return ApplyOutcome::Failed(ready);
  const Wanted wanted = file_.Read();
  const MachineRecord record = record_.Get();
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
  if (absl::Status forgotten = record_.Forget(); !forgotten.ok()) {
    return ApplyOutcome::Failed(forgotten);
  }
  PublishIfWatched();
  ApplyOutcome outcome;
  outcome.removed = std::move(removal->removed);
  outcome.kept = std::move(removal->kept);
  return outcome;
}

}  // namespace rum
