#ifndef RUM_CONTROLLER_FLEET_RUN_LOOP_H_
#define RUM_CONTROLLER_FLEET_RUN_LOOP_H_

#include <chrono>
#include <condition_variable>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace rum {

struct RunLoopOptions {
  int workers = 4;
  int most_workers = 128;  // threads in all, those of runs that are stuck included
  // A run that takes longer is counted as stuck: it no longer takes the place of another one.
  absl::Duration stuck_after = absl::Milliseconds(250);
  absl::Duration surplus_lingers = absl::Seconds(10);  // a worker more than `workers`, idle
  absl::Duration first_backoff = absl::Milliseconds(100);
  absl::Duration longest_backoff = absl::Seconds(60);
  absl::Duration resync = absl::Minutes(5);  // what every event missed is found then
  // After a run that failed: when the key is run again. Called by the worker, without a lock.
  std::function<void(const std::string& key, absl::Time at)> on_retry;
};

// How a run ended. A run may ask for another time until its key's next one than the loop's resync.
struct RunEnd {
  RunEnd(absl::Status end) : status(std::move(end)) {}  // NOLINT: most runs say no more
  RunEnd(absl::Status end, absl::Duration next) : status(std::move(end)), resync(next) {}
  absl::Status status;
  std::optional<absl::Duration> resync;
};

// What a loop is doing at a moment.
struct RunLoopStats {
  int keys = 0;
  int queued = 0;    // due, and without a worker
  int retrying = 0;  // whose last run failed and is tried again
  int workers = 0;
  int busy = 0;
  int stuck = 0;               // of those that are busy
  absl::Duration longest_run;  // of those that go on
};

// A queue of keys, each worked on by one worker at a time. Wake-ups only mark a key: any number of
// them before a run is one run, and one during a run is one more after it. A run that fails with
// Unavailable, DeadlineExceeded or Aborted is repeated after a back-off with jitter; every key is
// run again now and then. A stuck run holds its own thread and no other key: while runs are stuck,
// there are more threads, up to a limit.
class RunLoop {
 public:
  // Throws std::system_error if there is not even a thread that keeps the time.
  explicit RunLoop(std::function<RunEnd(const std::string& key)> run, RunLoopOptions options = {});
  ~RunLoop() { Stop(); }
  RunLoop(const RunLoop&) = delete;
  RunLoop& operator=(const RunLoop&) = delete;

  // Never blocks on a run. A key is known from its first wake-up on.
  void Wake(const std::string& key);
  // The same for what somebody waits for, and for what may cure past failures (a new file): ahead
  // of all others, without back-off.
  void WakeFirst(const std::string& key);
  // Wakes, for who has just done a run's work himself, only a key that never ran, or whose last run
  // did not end well.
  void WakeUnlessSettled(const std::string& key);
  void Forget(const std::string& key);
  RunLoopStats Stats();
  // No new run begins; returns when those that were going on have ended.
  void Stop();

 private:
  using Clock = std::chrono::steady_clock;
  using Time = Clock::time_point;
  struct Key {
    const std::string* name = nullptr;
    Time due = Time::max();         // of the next run; min(): ahead of all others
    Time not_before = Time::min();  // a stream of events must not undo the back-off
    bool queued = false;
    bool running = false;
    bool forgotten = false;
    bool settled = false;  // the last run ended well
    int failures = 0;
  };

  // All of them need the lock, except Work and Dispatch, which take it.
  void Work(std::list<std::thread>::iterator self);
  void Dispatch();
  bool AddWorker();  // false: there is no thread for it now
  void JoinEnded();
  // Adds a worker if there are too few, or stuck ones are in the way. Returns when to look again.
  Time GrowIfNeeded(Time now);
  int Stuck(Time now) const;
  Key& Named(const std::string& name);
  void Plan(Key& key, Time at);
  void Enqueue(Key& key, bool first);
  void Unplan(Key& key);
  // Returns when the key is run again because it failed; else InfiniteFuture.
  absl::Time Finish(Key& key, const RunEnd& end);
  Clock::duration Jittered(absl::Duration duration, double least, double most);

  const std::function<RunEnd(const std::string& key)> run_;
  const RunLoopOptions options_;
  std::mutex mutex_;
  std::condition_variable work_;      // for workers: something is queued
  std::condition_variable dispatch_;  // for the dispatcher: what it waits for may have changed
  std::unordered_map<std::string, Key> keys_;
  std::set<std::pair<Time, Key*>> timeline_;  // not due yet
  std::list<Key*> queue_;                     // due
  std::list<Time> runs_;                      // the beginnings of those that go on, oldest first
  std::minstd_rand random_;
  bool stopping_ = false;
  int idle_ = 0;
  std::list<std::thread> workers_;
  std::list<std::thread> ended_;  // to be joined
  std::thread dispatcher_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_FLEET_RUN_LOOP_H_
