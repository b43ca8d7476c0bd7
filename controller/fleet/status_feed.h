#ifndef RUM_CONTROLLER_FLEET_STATUS_FEED_H_
#define RUM_CONTROLLER_FLEET_STATUS_FEED_H_

#include <chrono>
#include <condition_variable>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <variant>

#include "absl/time/time.h"
#include "controller/aspects/plan.pb.h"
#include "state/record.pb.h"

namespace rum {

// Hands out the reports and events of one machine to everybody who watches it. Thread-safe; whoever
// publishes never waits for a watcher.
class StatusFeed {
 public:
  using News = std::variant<MachineStatus, Event>;
  using Clock = std::chrono::steady_clock;  // which nobody puts back

  // One watcher's view. A slow one misses reports in between, never the last one; events are
  // bounded as the history is.
  class Subscription {
   public:
    // True: `news` is the next. False: nothing came in `patience`, or the feed has ended.
    bool Next(absl::Duration patience, News* news);
    bool ended() const;

   private:
    friend class StatusFeed;
    void Push(News news);

    const Clock::time_point begun_ = Clock::now();
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<News> news_;
    MachineStatus last_;  // report that was pushed
    bool ended_ = false;
  };

  std::shared_ptr<Subscription> Subscribe();
  bool watched() const;

  // `read_at`: when the machine's file was read for it. A report of an older file than a watcher
  // could know is not for him: what he waits for speaks of the file as it is now.
  void Publish(const MachineStatus& status, Clock::time_point read_at);
  // Publishes the events of `record` that were not yet.
  void PublishEvents(const MachineRecord& record);
  void End();

 private:
  template <typename Visit>
  void ForEach(const Visit& visit);

  mutable std::mutex mutex_;
  std::list<std::weak_ptr<Subscription>> subscriptions_;
  int64_t last_event_ = -1;  // published; -1: none yet, so that history is no news
  bool ended_ = false;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_FLEET_STATUS_FEED_H_
