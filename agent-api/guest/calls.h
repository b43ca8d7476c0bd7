#ifndef RUM_AGENT_API_GUEST_CALLS_H_
#define RUM_AGENT_API_GUEST_CALLS_H_

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace rum::guest {

// Counts the calls that must be over before the agent is replaced by another build of itself: a
// command would lose its follower, a format its end.
class Calls {
 public:
  class One {
   public:
    explicit One(Calls* calls) : calls_(calls) { calls_->Change(1); }
    ~One() { calls_->Change(-1); }
    One(const One&) = delete;
    One& operator=(const One&) = delete;

   private:
    Calls* const calls_;
  };

  // False: some are still under way after `patience`.
  bool WaitUntilNone(std::chrono::milliseconds patience) {
    std::unique_lock<std::mutex> guard(mutex_);
    return changed_.wait_for(guard, patience, [this] { return count_ == 0; });
  }

 private:
  void Change(int by) {
    const std::lock_guard<std::mutex> guard(mutex_);
    count_ += by;
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
};

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_CALLS_H_
