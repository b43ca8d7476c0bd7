#ifndef RUM_CONTROLLER_RECONCILER_H_
#define RUM_CONTROLLER_RECONCILER_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "controller/links.h"
#include "controller/plan.h"
#include "state/consent.h"
#include "state/state_store.h"

namespace rum {

struct ApplyOptions {
  bool dry_run = false;
  bool force = false;         // run a changed system script
  bool rerun_system = false;  // run it whatever the ledger says
  bool rerun_boot = false;
  bool up = false;            // define and start what is not
  bool reset = false;         // with up: a fresh root disk
  bool reset_drives = false;  // with reset: fresh drives too
  bool retry_failed = true;   // false: the background loop
  bool no_live = false;       // what is live only within the machine's room waits for a restart
  bool take_over = false;     // also when the machine is another user's
  bool new_machine = false;  // with up: also where a machine whose file is gone looks like this one
  bool recorded = false;     // where the file is gone: by the last good configuration
  std::string default_uri;   // LIBVIRT_DEFAULT_URI of whoever asks: where a new machine is made
  // For an agent that has no session yet: after a start, and on a machine that runs already.
  absl::Duration boot_patience = absl::Seconds(300);
  absl::Duration agent_patience = absl::Seconds(10);
  std::string config_error;  // the file's problems, when `desired` is the last good one instead
  std::vector<ConsentedValue> trust;  // what the user consents to by this
  std::vector<Ask> asks;              // what was withheld from `desired` (state/consent.h)
  bool revive = false;                // start again what reconcile.restart says; see revive.h
  bool controller_started = false;    // with revive: it has not looked at the machine before
  std::function<absl::Time()> now;    // of what is recorded; empty: absl::Now
};

// What a person sees meanwhile. Members may be empty; called on the calling thread.
struct EventSink {
  std::function<void(const std::string& text)> progress;
  std::function<void(const ActionResult& result)> result;
  std::function<void(const std::string& bytes, bool error)> script_output;  // apart: stderr
  // Every look at the machine, also those between actions, with the record as it is then.
  std::function<void(const MachineStatus& status, const MachineRecord& record)> report;
};

struct ApplyOutcome {
  // Nothing could be tried, because of `status`.
  static ApplyOutcome Failed(const absl::Status& status);

  Plan plan;  // dry run: what would be done; else `waiting` alone: what still waits
  bool failed = false;
  std::string
      error;  // why nothing, or not everything, could be tried: bad file, libvirt gone, no agent
  bool already_running = false;
  std::vector<std::string> removed;                // destroy
  std::vector<std::string> kept;                   // destroy: see Removal
  std::vector<std::string> snapshots;              // destroy: because of these nothing was removed
  int actions = 0;                                 // executed, to success or not
  absl::Status status;                             // the first failure; its code decides retry
  std::map<std::string, std::string> errors;       // of the actions that failed, by their field
  bool looked = false;                             // the machine was seen
  absl::Time next_start = absl::InfiniteFuture();  // by reconcile.restart
};

// Makes the machine behind `links` match `desired`: observes, plans, acts, and observes again,
// until the plan is empty or nothing is left that was not tried. `record` follows, and is saved
// before anything that must not be forgotten and after everything was seen. One action that fails
// stops no other, but a script that fails stops the scripts after it. Safe to be killed anywhere:
// the next call ends in the same state.
ApplyOutcome Reconcile(MachineLinks& links, StateStore& store, const Config& desired,
                       const ApplyOptions& options, const EventSink& sink, MachineRecord* record);

}  // namespace rum

#endif  // RUM_CONTROLLER_RECONCILER_H_
