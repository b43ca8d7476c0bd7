#ifndef RUM_CONTROLLER_FLEET_MACHINE_H_
#define RUM_CONTROLLER_FLEET_MACHINE_H_

#include <atomic>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "controller/decide/status.h"
#include "controller/fleet/machine_key.h"
#include "controller/fleet/status_feed.h"
#include "controller/reconcile/links.h"
#include "controller/reconcile/reconciler.h"
#include "state/consent.h"
#include "state/record.pb.h"
#include "state/state_store.h"

namespace rum {

// For work inside a guest.
struct GuestAccess {
  std::shared_ptr<GuestAgent> agent;
  std::string folder;  // where commands start: the target of the default mount; empty: anywhere
  std::vector<Mount> mounts;  // folders of the host that it has, with their targets
};

// For an ssh to it.
struct SshAccess {
  GuestAccess guest;
  MachineIdentity machine;
  Ssh ssh;               // of the file as it is now
  std::string key_path;  // of the machine's own key
};

// One machine of the controller: its file, its record and its links. Thread-safe. What changes the
// machine runs one at a time; Status and Guest never wait for that.
class Machine {
 public:
  // `store` outlives it. `on_change`: see MachineLinks.
  Machine(MachineIdentity identity, LinkSources sources, StateStore* store, MachineKeys keys,
          std::function<void()> on_change);

  const MachineIdentity& identity() const { return links_.machine(); }

  // The machine's record, where the store has just been read; nothing if it is known already.
  void TakeUp(MachineRecord record);
  MachineRecord Snapshot() const;
  // `up` was said once and `destroy` was not; also when its record cannot be read.
  bool made() const;
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
  // Of the running machine, with a session. Unavailable: it is off, or nobody answers in it.
  absl::StatusOr<GuestAccess> Guest();
  absl::StatusOr<SshAccess> SshToGuest();
  // That it was made in.
  absl::StatusOr<std::shared_ptr<Hypervisor>> Libvirt() const;
  // A socket to its serial console; the caller owns it. See Hypervisor.
  absl::StatusOr<int> Console(bool force) const;
  // The last lines of what that said.
  absl::StatusOr<std::string> ConsoleEnd(size_t lines) const;

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

  // Of scripts: what is kept here, after a look at the guest's ledger; oldest first.
  std::vector<agent::ScriptRun> Runs();
  // Output of a run, then the run as it ended. `follow`: of one that goes on, to its end; then
  // `sink` is called each second at least. False ends it.
  using LogSink = std::function<bool(const agent::RunScriptEvent&)>;
  absl::Status Log(const std::string& run_id, bool follow, const LogSink& sink);
  // Tells the scripts that run to end, and returns them.
  std::vector<agent::ScriptRun> CancelRuns();

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

  bool want_running() const;
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
  class Publisher;
  static constexpr int64_t kNoStart = std::numeric_limits<int64_t>::max();

  // To be held by whatever changes the machine; says when it has to wait.
  std::unique_lock<std::timed_mutex> Turn(const EventSink& sink);
  // The same for who wants the machine off: an apply that is under way ends at its next step, and
  // where that takes long, as in a script, the guest is told to shut down already.
  std::unique_lock<std::timed_mutex> TurnToStop(const EventSink& sink, absl::Duration grace);

  struct Wanted {
    Config config;          // what may be acted on
    std::string error;      // the file's problems: `config` is of the last good one
    std::string text_hash;  // of the file; empty: it could not be read
    std::vector<Ask> asks;  // what was withheld
    std::string note;       // what is to be known with these
    std::string blocked;    // why nothing may be done, and no libvirt be asked; else empty
    bool may_start = true;  // its image, too, was consented to
    absl::Status libvirt;   // why it could not say what the networks are that the file names
  };
  // The file's configuration with the machine's own key among the keys, and without what the user
  // has not consented to; `also`: what he does just now. Libvirt is asked where the file names
  // networks; `default_uri`: see Status.
  Wanted Desired(const std::vector<ConsentedValue>& also = {},
                 const std::string& default_uri = "") const;
  // Adds to `around` what libvirt knows of networks, and to the record what was joined before rum
  // asked.
  absl::Status AskNetworks(const std::string& uri, MachineRecord* record,
                           Surroundings* around) const;
  Ssh SshOfFile() const;
  absl::Status SaveWord(const MachineRecord& record);
  absl::Status TakeWord(const std::vector<ConsentedValue>& values);
  // Forwards that nobody consents to any more.
  void CloseWithheld(const MachineRecord& record);
  MachineStatus Blocked(const Wanted& wanted, const MachineRecord& record, int64_t now_ms) const;
  // Notes of the file where it is and what it says, and saves that of a machine that was made.
  absl::Status NotePlace(const std::string& text_hash, MachineRecord* record) const;
  // `status` with what is to be known of the file's place.
  MachineStatus WithNotes(MachineStatus status, const MachineRecord& record) const;
  absl::Status Ready() const;  // the record could be read
  absl::Status Load() const;
  void Publish(const MachineRecord& record) const;
  MachineRecord NewRecord() const;
  using RunList = google::protobuf::RepeatedPtrField<agent::ScriptRun>;
  static RunList RunsOf(const MachineRecord& record);
  void Collect(const RunList& runs);
  absl::Status OnlyReport(const Config& desired, const ApplyOptions& options,
                          StatusFeed::Clock::time_point read_at, const EventSink& sink,
                          MachineRecord record);
  void NoteNextStart(absl::Time at);
  // Ok, or what keeps anybody from working in the guest now, by libvirt's word. Waits for that only
  // a moment, so that a libvirt that hangs holds up nobody.
  absl::Status Stands() const;
  static absl::Status MayApply(const ApplyOptions& options, const Wanted& wanted);
  MachineRecord TakenOver(MachineRecord record) const;
  absl::Status RestorePorts(const Observed& observed, const MachineRecord& record);
  // `sink`, which also keeps those who watch up to date.
  EventSink Told(const EventSink& sink, StatusFeed::Clock::time_point read_at);
  void Remember(const std::map<std::string, std::string>& errors);
  Failures RememberedFailures() const;
  // A report of now. Also after a reconcile: for who came in the middle of it, its own reports are
  // of an older file than he may know, and what failed is in none of them.
  void PublishIfWatched();

  StateStore* const store_;
  const MachineKeys keys_;
  MachineLinks links_;
  std::atomic<int> items_waiting_ = 0;
  std::atomic<int> restarts_awaited_ = 0;
  std::atomic<int64_t> next_start_ms_ = kNoStart;
  std::atomic<bool> seen_ = false;  // by this controller
  std::timed_mutex changing_;       // held by whatever changes the machine
  mutable std::mutex mutex_;
  mutable bool loaded_ = false;
  mutable std::string load_error_;
  mutable MachineRecord record_;  // as it was saved last
  Failures failures_;             // of the last reconcile
  mutable StatusFeed feed_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_FLEET_MACHINE_H_
