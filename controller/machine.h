#ifndef RUM_CONTROLLER_MACHINE_H_
#define RUM_CONTROLLER_MACHINE_H_

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "controller/links.h"
#include "controller/machine_key.h"
#include "controller/reconciler.h"
#include "controller/status.h"
#include "controller/status_feed.h"
#include "state/record.pb.h"
#include "state/state_store.h"

namespace rum {

// For work inside a guest.
struct GuestAccess {
  std::shared_ptr<GuestAgent> agent;
  std::string folder;  // where commands start: the target of the default mount; empty: anywhere
};

// One machine of the controller: its file, its record and its links. Thread-safe. What changes the
// machine runs one at a time; Status and Guest never wait for that.
class Machine {
 public:
  // `store` outlives it. `on_change`: see MachineLinks.
  Machine(MachineIdentity identity, LinkSources sources, StateStore* store, MachineKeys keys,
          std::function<void()> on_change);

  const MachineIdentity& identity() const { return links_.machine(); }

  // apply, reload and up: by the file as it is now. A file with problems touches nothing.
  ApplyOutcome Apply(const ApplyOptions& options, const EventSink& sink);
  // What the loop does by itself for a machine that is wanted up: corrects drift and applies a
  // changed file, unless reconcile.auto is false; then it only opens the ports again that were open
  // before.
  absl::Status Background(const EventSink& sink);
  MachineStatus Status();
  ApplyOutcome Down(const EventSink& sink);
  ApplyOutcome Destroy(const EventSink& sink);
  // Of the running machine, with a session. Unavailable: it is off, or nobody answers in it.
  absl::StatusOr<GuestAccess> Guest();

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

  bool want_running() const { return Snapshot().want_running(); }
  void Stop() {
    links_.Stop();
    feed_.End();
  }

 private:
  class Publisher;

  // To be held by whatever changes the machine; says when it has to wait.
  std::unique_lock<std::mutex> Turn(const EventSink& sink);
  // The same for who wants the machine off: an apply that is under way ends at its next step.
  std::unique_lock<std::mutex> TurnToStop(const EventSink& sink);

  // The file's configuration with the machine's own key among the keys, or the last good one;
  // `error` gets the file's problems.
  Config Desired(std::string* error) const;
  absl::Status Ready() const;  // the record could be read
  absl::Status Load() const;
  MachineRecord Snapshot() const;
  void Publish(const MachineRecord& record) const;
  MachineRecord NewRecord() const;
  absl::Status OnlyReport(const Config& desired, const std::string& problems, absl::Time read_at,
                          MachineRecord record);
  absl::Status RestorePorts(const Observed& observed, const MachineRecord& record);
  // `sink`, which also keeps those who watch up to date.
  EventSink Told(const EventSink& sink, absl::Time read_at);
  void Remember(const std::map<std::string, std::string>& errors);
  Failures RememberedFailures() const;
  void PublishIfWatched();

  StateStore* const store_;
  const MachineKeys keys_;
  MachineLinks links_;
  std::mutex changing_;  // held by whatever changes the machine
  mutable std::mutex mutex_;
  mutable bool loaded_ = false;
  mutable std::string load_error_;
  mutable MachineRecord record_;  // as it was saved last
  Failures failures_;             // of the last reconcile
  mutable StatusFeed feed_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_MACHINE_H_
