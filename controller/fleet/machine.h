#ifndef RUM_CONTROLLER_FLEET_MACHINE_H_
#define RUM_CONTROLLER_FLEET_MACHINE_H_

#include <atomic>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "controller/decide/status.h"
#include "controller/fleet/desired_file.h"
#include "controller/fleet/machine_access.h"
#include "controller/fleet/machine_key.h"
#include "controller/fleet/record_box.h"
#include "controller/fleet/run_archive.h"
#include "controller/fleet/status_feed.h"
#include "controller/reconcile/links.h"
#include "controller/reconcile/reconciler.h"
#include "state/consent.h"
#include "state/record.pb.h"
#include "state/state_store.h"

namespace rum {

// One machine of the controller: what commands and the loop do with its file, its record and its
// links. Thread-safe. What changes the machine runs one at a time; Status, a dry run, access() and
// archive() never wait for that.
class Machine {
 public:
  // `store` outlives it. `on_change`: see MachineLinks.
  Machine(MachineIdentity identity, LinkSources sources, StateStore* store, MachineKeys keys,
          std::function<void()> on_change);

  const MachineIdentity& identity() const { return links_.machine(); }

  // The machine's record, where the store has just been read; nothing if it is known already.
  void TakeUp(MachineRecord record) { record_.TakeUp(std::move(record)); }
  MachineRecord Snapshot() const { return record_.Get(); }
  bool made() const { return record_.made(); }  // see RecordBox
  bool want_running() const { return record_.want_running(); }
  MachineAccess& access() { return access_; }
  RunArchive& archive() { return archive_; }
  // Its file is at `config_path` from now on; waits for what changes the machine to end.
  absl::Status MoveTo(const std::string& config_path);

  // apply, reload and up: by the file as it is now. A file with problems touches nothing.
  ApplyOutcome Apply(const ApplyOptions& options, const EventSink& sink);
  // What the loop does by itself for a machine that is wanted up: corrects drift and applies a
  // changed file, unless reconcile.auto is false; then it only opens the ports again that were open
  // before. Aborted while somebody is writing the file, where `being_written` can tell.
  absl::Status Background(const EventSink& sink, const std::function<bool()>& being_written = {});
  // `default_uri`: the LIBVIRT_DEFAULT_URI of whoever asks, where somebody does; `seen` hears
  // whether libvirt could be asked. Both may be null.
  MachineStatus Status(const std::string* default_uri = nullptr, bool* seen = nullptr);
  // `force`: also of a machine that is another user's.
  ApplyOutcome Down(const EventSink& sink, bool force = false);
  ApplyOutcome Destroy(const EventSink& sink, bool force = false);

  struct TrustChange {
    std::vector<ConsentedValue> give;
    std::vector<std::string> revoke;  // see Means()
    bool revoke_all = false;
    std::string default_uri;  // LIBVIRT_DEFAULT_URI of whoever asks
    bool any() const { return !give.empty() || !revoke.empty() || revoke_all; }
  };
  struct TrustState {
    std::vector<Ask> asks;
    std::vector<ConsentedValue> consented;
    std::string note;
    std::string config_error;  // the file's problems: the asks are of the last good configuration
  };
  // What its file asks and what was consented to, after `change`.
  absl::StatusOr<TrustState> Trust(const TrustChange& change);

  struct WatchOptions {
    bool status = false;
    bool events = false;
    int history = 0;      // events of before, at most
    bool follow = false;  // until `gone`, or Stop()
  };
  // Tells on the calling thread what there is and what comes; `tell` returns false when nobody
  // listens any more. Reports and events as StatusFeed says.
  void Watch(const WatchOptions& options, const std::function<bool(const StatusFeed::News&)>& tell,
             const std::function<bool()>& gone);
  bool watched() const { return feed_.watched(); }
  // What failed is tried again then.
  void NoteNextTry(absl::Time at);

  // When reconcile.restart starts the machine, as its last look found; else beyond all times.
  absl::Time next_start() const { return absl::FromUnixMillis(next_start_ms_); }

  // True for the libvirt of this machine where no file named it, but the user's environment.
  bool UserNamed(const std::string& uri) const;
  // What the last reconcile of the background left waiting, and how much of that for a restart or a
  // new disk.
  int items_waiting() const { return items_waiting_; }
  int restarts_awaited() const { return restarts_awaited_; }
  std::vector<ForwardState> Forwards() const { return links_.Forwards(); }
  // False: what changes in its guest is found by looking alone.
  bool GuestPushes() const;
  void Stop() {
    links_.Stop();
    feed_.End();
  }

 private:
  static constexpr int64_t kNoStart = std::numeric_limits<int64_t>::max();

  // Is to be held by whatever changes the machine; says when it has to wait.
  std::unique_lock<std::timed_mutex> Turn(const EventSink& sink);
  // The same for who wants the machine off: an apply that is under way ends at its next step, and
  // where that takes long, as in a script, the guest is told to shut down already.
  std::unique_lock<std::timed_mutex> TurnToStop(const EventSink& sink, absl::Duration grace);

  absl::Status TakeWord(const std::vector<ConsentedValue>& values);
  // Closes forwards that nobody consents to any more.
  void CloseWithheld(const MachineRecord& record);
  // `status` with what is to be known of the file's place.
  MachineStatus WithNotes(MachineStatus status, const MachineRecord& record) const;
  absl::Status OnlyReport(const Config& desired, const ApplyOptions& options,
                          StatusFeed::Clock::time_point read_at, const EventSink& sink,
                          MachineRecord record);
  void NoteNextStart(absl::Time at);
  absl::Status RestorePorts(const Observed& observed, const MachineRecord& record);
  // `sink`, which also keeps those who watch up to date.
  EventSink Told(const EventSink& sink, StatusFeed::Clock::time_point read_at);
  void Remember(const std::map<std::string, std::string>& errors);
  Failures RememberedFailures() const;
  // A report of now. Also after a reconcile: for who came in the middle of it, its own reports are
  // of an older file than he may know, and what failed is in none of them.
  void PublishIfWatched();

  const MachineKeys keys_;
  MachineLinks links_;
  StatusFeed feed_;
  mutable RecordBox record_;
  const DesiredFile file_;
  MachineAccess access_;
  RunArchive archive_;
  std::atomic<int> items_waiting_ = 0;
  std::atomic<int> restarts_awaited_ = 0;
  std::atomic<int64_t> next_start_ms_ = kNoStart;
  std::atomic<bool> seen_ = false;  // by this controller
  std::timed_mutex changing_;       // held by whatever changes the machine
  mutable std::mutex mutex_;
  Failures failures_;  // of the last reconcile
};

}  // namespace rum

#endif  // RUM_CONTROLLER_FLEET_MACHINE_H_
