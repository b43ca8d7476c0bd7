#ifndef RUM_CONTROLLER_RUN_LOOP_H_
#define RUM_CONTROLLER_RUN_LOOP_H_

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace rum {

struct RunLoopOptions {
  int workers = 4;
  absl::Duration first_backoff = absl::Milliseconds(100);
  absl::Duration longest_backoff = absl::Seconds(60);
  absl::Duration resync = absl::Seconds(10);  // what every event missed is found then
  // After a run that failed: when the key is run again. Called by the worker, without a lock.
  std::function<void(const std::string& key, absl::Time at)> on_retry;
};

// A queue of keys, each worked on by one worker at a time. Wake-ups only mark a key: any number of
// them before a run is one run, and one during a run is one more after it. A run that fails with
// Unavailable, DeadlineExceeded or Aborted is repeated after a back-off with jitter; every key is
// run again now and then. A slow key holds one worker and no other key.
class RunLoop {
 public:
  explicit RunLoop(std::function<absl::Status(const std::string& key)> run,
                   RunLoopOptions options = {});
  ~RunLoop() { Stop(); }
  RunLoop(const RunLoop&) = delete;
  RunLoop& operator=(const RunLoop&) = delete;

  // Never blocks on a run. A key is known from its first wake-up on.
  void Wake(const std::string& key);
  void Forget(const std::string& key);
  // No new run begins; returns when those that were going on have ended.
  void Stop();

 private:
  struct Key {
    absl::Time due = absl::InfiniteFuture();
    absl::Time not_before = absl::InfinitePast();  // a stream of events must not undo the back-off
    bool running = false;
    bool forgotten = false;
    int failures = 0;
  };

  void Work();
  // The key that is due first, or null. Needs the lock.
  std::map<std::string, Key>::iterator Next();
  // Returns when the key is run again because it failed; else InfiniteFuture.
  absl::Time Finish(const std::string& name, const absl::Status& status);
  absl::Duration Jittered(absl::Duration duration);

  const std::function<absl::Status(const std::string& key)> run_;
  const RunLoopOptions options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, Key> keys_;
  std::minstd_rand random_;
  bool stopping_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_RUN_LOOP_H_
