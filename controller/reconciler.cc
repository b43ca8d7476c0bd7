#include "controller/reconciler.h"

#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "agent-api/steady_now.h"
#include "controller/aspects/definition.h"
#include "controller/console_text.h"
#include "controller/executor.h"
#include "controller/failpoint.h"
#include "controller/history.h"
#include "controller/record_update.h"
#include "controller/restart_policy.h"
#include "controller/revive.h"
#include "controller/run_loop.h"
#include "controller/standing.h"
#include "controller/status.h"

namespace rum {
namespace {

// Define and start, then ports, then what the guest's agent shows; one more to see that nothing is
// left, and two for what moved meanwhile.
constexpr int kMostPasses = 6;
// Of a guest whose scripts reboot it, in one go.
constexpr int kMostReboots = 5;
constexpr absl::Duration kBackgroundPatience = absl::Seconds(30);
constexpr char kDomainItem[] = "domain";

// The guest says nothing by itself when it gets an address.
constexpr absl::Duration kAddressPoll = absl::Milliseconds(250);

// An action is tried once in a reconcile, whatever it says the second time; but of what is mounted,
// some can only be when drives have come or others are unmounted.
std::string KeyOf(const Action& action) {
  const Action::SetStorage& storage = action.set_storage();
  return absl::StrCat(action.field(), "/", action.kind_case(), "/",
                      absl::StrJoin(storage.made(), "\n"), "/",
                      absl::StrJoin(storage.removed(), "\n"));
}

class Reconciliation {
 public:
  Reconciliation(MachineLinks& links, StateStore& store, const Config& desired,
                 const ApplyOptions& options, const EventSink& sink, MachineRecord* record)
      : links_(links),
        store_(store),
        desired_(desired),
        options_(options),
        sink_(sink),
        record_(record) {}

  ApplyOutcome Run() {
    const bool wait_now = options_.dry_run;  // else there may be things to do before
    if (!LookAround(wait_now ? options_.agent_patience : absl::ZeroDuration())) {
      return std::move(outcome_);
    }
    outcome_.looked = true;
    outcome_.already_running = observed_.domain.running;
    if (options_.dry_run) return DryRun();
    if (!NotePurpose() || !MakeWayForReset() || !ReviveIfDue()) return std::move(outcome_);
    while (rounds_left_-- > 0 && !links_.stopping()) {
      if (!Round()) break;
    }
    Conclude();
    return std::move(outcome_);
  }

 private:
  void Progress(const std::string& text) {
    if (sink_.progress) sink_.progress(text);
  }

  // Of what is recorded: by the clock that reconcile.restart compares it with.
  int64_t NowMs() const { return absl::ToUnixMillis(options_.now ? options_.now() : absl::Now()); }

  void Fail(const absl::Status& status, const std::string& error) {
    outcome_.failed = true;
    if (outcome_.status.ok()) outcome_.status = status;
    if (outcome_.error.empty()) outcome_.error = error;
  }

  bool LookAround(absl::Duration patience) {
    absl::StatusOr<Observed> observed = links_.Look(desired_, *record_, patience);
    if (!observed.ok()) {
      Fail(observed.status(), std::string(observed.status().message()));
      return false;
    }
    observed_ = *std::move(observed);
    NoteBoot();
    if (options_.dry_run) return true;
    judgement_ = Judge(desired_, *record_, observed_, Options());
    Report();
    return true;
  }

  // In another boot of the guest what was tried may be to be tried again, and its agent waited for.
  void NoteBoot() {
    if (!observed_.guest.has_value()) return;
    awaited_ = false;
    const std::string before = std::exchange(boot_id_, observed_.guest->boot_id());
    if (before.empty() || before == boot_id_) return;
    ++reboots_;
    rounds_left_ = kMostPasses;
    script_failed_ = false;
    storage_failed_ = false;
    for (auto key = tried_.begin(); key != tried_.end();) {
      key = absl::StartsWith(*key, kDomainItem) ? std::next(key) : tried_.erase(key);
    }
  }

  // What was seen goes into the record, and to whoever watches.
  void Report() {
    const int64_t now = NowMs();
    status_ = MakeStatus(desired_, *record_, observed_, judgement_, now, options_.config_error,
                         options_.asks, {outcome_.errors, 0});
    noted_ = NoteReport(status_, true, now, record_) || noted_;
    if (sink_.report) sink_.report(status_, *record_);
  }

  bool Save() {
    absl::Status saved = store_.Save(*record_);
    if (!saved.ok()) Fail(saved, absl::StrCat("record: ", std::string(saved.message())));
    return saved.ok();
  }

  PlanOptions Options() const {
    PlanOptions options;
    options.force_system_script = options_.force;
    options.rerun_system = options_.rerun_system && !ran_.count("system");
    options.rerun_boot = options_.rerun_boot && !ran_.count("boot");
    options.start = options_.up && !started_;
    options.reset = options_.reset && !started_;
    options.reset_drives = options_.reset_drives;
    options.retry_failed = options_.retry_failed;
    options.live = !options_.no_live;
    return options;
  }

  ApplyOutcome DryRun() {
    Observed seen = observed_;
    if (options_.up && options_.reset) seen.domain.running = false;  // it would be stopped first
    outcome_.plan = MakePlan(desired_, *record_, seen, Options());
    CheckReachable();
    return std::move(outcome_);
  }

  // The libvirt that the machine is in, or is to be made in: from then on no other default moves
  // it.
  bool NoteLibvirt() {
    if (!options_.up && !observed_.domain.defined && !observed_.domain.running) return false;
    std::string uri = UriOf(desired_, *record_);
    if (uri.empty()) uri = observed_.domain.uri;
    if (uri == record_->libvirt_uri()) return false;
    record_->set_libvirt_uri(uri);
    return true;
  }

  // Of the background. False: the record cannot be kept, or the machine not be seen.
  bool ReviveIfDue() {
    if (!options_.revive) return true;
    const Revival revival = Revive(links_, store_, desired_, observed_, options_, sink_, record_);
    outcome_.next_start = revival.next;
    if (!revival.tried) return true;
    ++outcome_.actions;
    noted_ = true;
    if (!revival.status.ok()) {
      outcome_.errors[kDomainItem] = std::string(revival.status.message());
      Fail(revival.status, outcome_.errors[kDomainItem]);
      // The next try has a time of its own.
      outcome_.next_start =
          Revive(links_, store_, desired_, observed_, options_, sink_, record_).next;
    }
    return LookAround(absl::ZeroDuration());
  }

  // Generation, purpose and place are on disk before anything moves.
  bool NotePurpose() {
    bool changed = NoteDesired(desired_, record_);
    if (NoteLibvirt()) changed = true;
    if (options_.retry_failed) {
      changed = ForgetRestarts(record_) || record_->fights_size() > 0 || changed;
      record_->clear_fights();
    }
    const bool serve = options_.up || observed_.domain.running;
    if (serve && !record_->want_running()) {
      record_->set_want_running(true);
      changed = true;
    }
    return !changed || Save();
  }

  void SayWhatGoes() {
    const DomainState& domain = observed_.domain;
    if (!domain.defined && !domain.running) return;
    const std::string drives = absl::StrJoin(DriveNames(domain), ", ");
    const char* fate =
        options_.reset_drives ? "; with --drives also of drives " : "; drives kept: ";
    Progress(absl::StrCat("removing the root disk and all that is on it",
                          drives.empty() ? "" : absl::StrCat(fate, drives)));
  }

  // The file moves a machine to another libvirt, also by not naming one any more; the environment
  // does not.
  std::string UriOfFreshDisk(const std::string& old_uri) const {
    const std::string& said = desired_.advanced().libvirt_uri();
    if (!said.empty()) return said;
    return record_->applied().advanced().libvirt_uri().empty() ? old_uri : options_.default_uri;
  }

  // A fresh disk needs the machine off; in another libvirt, the old one must be gone from the
  // first.
  bool MakeWayForReset() {
    if (!options_.up || !options_.reset) return true;
    const std::string old_uri = UriOf(desired_, *record_);
    absl::StatusOr<std::shared_ptr<Hypervisor>> hypervisor = links_.hypervisor(old_uri);
    absl::Status status = hypervisor.status();
    if (status.ok()) SayWhatGoes();
    if (status.ok() && observed_.domain.running) {
      Progress("stopping the machine");
      links_.Close();
      status = (*hypervisor)->Stop(links_.machine(), absl::Seconds(30));
      outcome_.already_running = false;
    }
    const std::string new_uri = UriOfFreshDisk(old_uri);
    if (status.ok() && old_uri != new_uri) {
      status = (*hypervisor)->Remove(links_.machine()).status();
      if (status.ok()) {
        record_->clear_applied();
        record_->set_libvirt_uri(new_uri);
        record_->set_libvirt_default(options_.default_uri);
        if (!Save()) return false;
      }
    }
    if (!status.ok()) {
      Fail(status, std::string(status.message()));
      return false;
    }
    return LookAround(absl::ZeroDuration());
  }

  // One pass of plan and act. False: nothing is left to try.
  bool Round() {
    if (reboots_ > kMostReboots) return SayItRebootsForEver();
    if (started_ && observed_.guest.has_value() && !std::exchange(address_awaited_, true) &&
        !AwaitAddress()) {
      return false;
    }
    const Plan plan = MakePlan(judgement_, *record_, Options());
    bool acted = false;
    for (const Action& action : plan.actions()) {
      if (links_.stopping()) return false;
      if (!MayTry(action)) continue;
      tried_.insert(KeyOf(action));
      if (!Act(action)) return false;
      acted = true;
      if (std::exchange(look_again_, false)) break;
    }
    if (acted) return LookAround(absl::ZeroDuration());
    if (observed_.guest.has_value() || !observed_.domain.running || awaited_) return false;
    awaited_ = true;
    return AwaitAgent();
  }

  bool SayItRebootsForEver() {
    const std::string error = absl::StrCat(
        "the guest rebooted ", reboots_,
        " times meanwhile, and this goes no further: does a script "
        "reboot it in each boot? It must end with status 0 where nothing is left to do; `rum log "
        "--list` shows its runs");
    Fail(absl::FailedPreconditionError(error), error);
    return false;
  }

  // Scripts fetch things: they come after it. False: no more can be seen.
  bool AwaitAddress() {
    if (!desired_.network().wait_for_ip()) return true;
    const absl::Duration patience =
        absl::Seconds(static_cast<double>(desired_.network().ip_wait_timeout_s()));
    const absl::Time deadline = SteadyNow() + patience;
    bool said = false;
    while (observed_.guest.has_value() && !HasAddress() && !links_.stopping()) {
      if (SteadyNow() >= deadline) {
        const std::string error =
            absl::StrCat("the machine has no address after ", absl::FormatDuration(patience),
                         " (network.ip_wait_timeout_s; network.wait_for_ip = false does not wait)");
        Fail(absl::DeadlineExceededError(error), error);
        return true;
      }
      if (!std::exchange(said, true)) Progress("waiting for an address");
      absl::SleepFor(kAddressPoll);
      if (!LookAround(absl::ZeroDuration())) return false;
    }
    return true;
  }

  // Also of a machine that has no card to get one.
  bool HasAddress() const {
    const Network& network = observed_.domain.live.network();
    if (!network.nat() && network.interfaces().empty()) return true;
    return std::any_of(observed_.guest->cards().begin(), observed_.guest->cards().end(),
                       [](const agent::Card& card) { return !card.addresses().empty(); });
  }

  bool AwaitAgent() {
    const bool booting = started_ || options_.up;
    if (booting) Progress("waiting for the agent");
    return LookAround(booting ? options_.boot_patience : options_.agent_patience);
  }

  bool MayTry(const Action& action) const {
    if (tried_.count(KeyOf(action)) > 0) return false;
    if (action.has_run_script() && (script_failed_ || storage_failed_)) return false;
    return !(action.has_start_domain() && define_failed_);
  }

  // False: the record cannot be kept, so that nothing more may be done.
  bool Act(const Action& action) {
    if (NoteIntent(desired_, observed_, action, record_) && !Save()) return false;
    absl::StatusOr<std::shared_ptr<Hypervisor>> hypervisor =
        links_.hypervisor(UriOf(desired_, *record_));
    if (!hypervisor.ok()) {
      Fail(hypervisor.status(), std::string(hypervisor.status().message()));
      return false;
    }
    const std::string failpoint = absl::StrCat("action:", outcome_.actions++);
    Failpoint(failpoint);
    if (action.has_start_domain()) Progress("starting the machine");
    if (action.has_run_script()) {
      Progress(absl::StrCat("running the ", action.run_script().kind(), " provisioning script"));
    }
    const std::shared_ptr<GuestAgent> agent = links_.agent();
    const std::shared_ptr<ListenerSet> listeners =
        action.has_set_forwards() ? links_.OpenListeners() : nullptr;
    const Execution execution =
        Execute(action, {links_.machine(), desired_, observed_, **hypervisor, agent.get(),
                         listeners.get(), sink_.script_output,
                         Onlooker(sink_.progress, [this] { return links_.stopping(); }),
                         links_.runs(), [this] { return links_.interrupted(); },
                         [this] { return links_.stopping(); }, SessionPatience()});
    Failpoint(absl::StrCat(failpoint, ":done"));
    if (action.has_run_script() && absl::IsAborted(execution.status)) {
      // Somebody else decided meanwhile (the agent itself, after a boot): look again.
      tried_.erase(KeyOf(action));
      look_again_ = true;
      return true;
    }
    if (execution.interrupted && Rebooted(action)) return true;
    if (action.has_run_script()) ran_.insert(action.run_script().kind());
    NoteOutcome(action, execution);
    return true;
  }

  // The background comes again.
  absl::Duration SessionPatience() const {
    return options_.retry_failed ? options_.boot_patience : kBackgroundPatience;
  }

  // Whether the guest is in another boot than that in which `script` was interrupted: no failure
  // then, for what is missing is done in this one.
  bool Rebooted(const Action& script) {
    const int before = reboots_;
    if (!LookAround(SessionPatience()) || reboots_ == before) return false;
    const std::string why = absl::StrCat("the guest rebooted in the middle of the ",
                                         script.run_script().kind(), " provisioning script");
    Progress(absl::StrCat(why, ": going on with its next boot"));
    Event event;
    event.set_time_ms(NowMs());
    event.set_kind(Event::SEEN);
    event.set_field(script.field());
    event.set_why(why);
    event.set_by(ByName(Item::GUEST));
    AddEvent(std::move(event), record_);
    noted_ = true;
    look_again_ = true;
    return true;
  }

  void NoteOutcome(const Action& action, const Execution& execution) {
    if (sink_.result) sink_.result(execution.result);
    NoteAction(execution.result, status_, NowMs(), record_);
    noted_ = true;
    if (execution.status.ok()) {
      if (action.has_start_domain()) started_ = true;
      NoteDone(action, record_);
      return;
    }
    // A script would write below an empty target; but it may be what installs a missing mkfs.
    if (action.has_set_storage()) storage_failed_ = !absl::IsUnimplemented(execution.status);
    outcome_.failed = true;
    outcome_.errors[action.field()] = execution.result.message();
    // One that is worth another try is not held up by one that waits for somebody.
    if (outcome_.status.ok() || (MayRetry(execution.status) && !MayRetry(outcome_.status))) {
      outcome_.status = execution.status;
    }
    if (action.has_define_domain()) define_failed_ = true;
    if (action.has_run_script()) script_failed_ = true;
  }

  // Applied is what was seen, after the last action.
  void Conclude() {
    if (links_.interrupted()) {
      const std::string error = "interrupted: the machine is being stopped";
      Fail(absl::CancelledError(error), error);
      return;
    }
    CheckReachable();
    const Plan left = MakePlan(judgement_, *record_, Options());
    *outcome_.plan.mutable_waiting() = left.waiting();
    *outcome_.plan.mutable_at_start() = left.at_start();
    // What the loop may not try again by itself is not converged either.
    const bool converged = observed_.guest.has_value() && !outcome_.failed && Settled(judgement_);
    ReportUndone(left);
    Failpoint("record");
    noted_ = NoteObserved(desired_, judgement_, converged, NowMs(), record_) || noted_;
    Report();  // which now says whether the generation is applied
    if (noted_) Save();
  }

  // Done, but not seen to hold: somebody or something undid it at once.
  void ReportUndone(const Plan& left) {
    if (outcome_.failed) return;
    for (const Action& action : left.actions()) {
      if (tried_.count(KeyOf(action)) == 0) continue;
      const std::string error = absl::StrCat(action.field(), ": was applied, but does not hold");
      Fail(absl::AbortedError(error), error);
    }
  }

  // What it is, where it is not up, and what goes on with it.
  void CheckReachable() {
    const Standing standing = StandingOf(observed_);
    outcome_.plan.set_phase(standing.phase);
    if (standing.phase == MachineStatus::RUNNING) return;
    const std::string text = StandingText(links_.machine().name, standing);
    outcome_.plan.set_standing(text);
    if (options_.up && options_.dry_run) return;
    const DomainState& domain = observed_.domain;
    if (!domain.running) {
      if (standing.phase == MachineStatus::NOT_DEFINED && !options_.up) {
        Fail(absl::FailedPreconditionError(text), text);
      } else if (started_) {
        Fail(absl::UnavailableError(text), absl::StrCat("it went off while it booted: ", text));
      }
    } else if (domain.cause == DomainCause::kPausedForNow) {
      Fail(absl::UnavailableError(text), text);
    } else if (StandsStill(domain)) {
      Fail(absl::FailedPreconditionError(text), text);
    } else {
      const std::string error =
          absl::StrCat(observed_.guest_refused.empty() ? "the agent in the guest does not answer"
                                                       : observed_.guest_refused,
                       ": hostname, groups and scripts are as they were");
      Fail(absl::UnavailableError(error), error + WhatTheConsoleSaid());
    }
  }

  // For a person who waited for the agent: where the guest got to.
  std::string WhatTheConsoleSaid() const {
    constexpr size_t kLines = 20;
    constexpr size_t kMost = 16 * 1024;
    if (!options_.up) return "";
    const auto hypervisor = links_.hypervisor(UriOf(desired_, *record_));
    if (!hypervisor.ok()) return "";
    const absl::StatusOr<std::string> said = (*hypervisor)->ConsoleLog(links_.machine(), kMost);
    const std::string lines = said.ok() ? LastConsoleLines(*said, kLines) : "";
    if (lines.empty()) return "; `rum console` shows what it does";
    return absl::StrCat("; `rum console` shows what it does. Its console ends with:\n    ",
                        absl::StrReplaceAll(absl::StripSuffix(lines, "\n"), {{"\n", "\n    "}}));
  }

  MachineLinks& links_;
  StateStore& store_;
  const Config& desired_;
  const ApplyOptions& options_;
  const EventSink& sink_;
  MachineRecord* const record_;
  ApplyOutcome outcome_;
  Observed observed_;     // by the last look,
  Judgement judgement_;   // what it means,
  MachineStatus status_;  // and its report
  bool noted_ = false;    // the record has what is not saved yet
  std::set<std::string> tried_;
  std::set<std::string> ran_;  // kinds of scripts
  bool look_again_ = false;    // before anything else is done
  std::string boot_id_;        // of the guest that was seen last
  int reboots_ = 0;            // that were seen here
  int rounds_left_ = kMostPasses;
  bool started_ = false;
  bool awaited_ = false;          // the agent
  bool address_awaited_ = false;  // by a machine that was started here
  bool define_failed_ = false;
  bool script_failed_ = false;
  bool storage_failed_ = false;
};

}  // namespace

ApplyOutcome ApplyOutcome::Failed(const absl::Status& status) {
  ApplyOutcome outcome;
  outcome.failed = true;
  outcome.status = status;
  outcome.error = std::string(status.message());
  return outcome;
}

ApplyOutcome Reconcile(MachineLinks& links, StateStore& store, const Config& desired,
                       const ApplyOptions& options, const EventSink& sink, MachineRecord* record) {
  return Reconciliation(links, store, desired, options, sink, record).Run();
}

}  // namespace rum
