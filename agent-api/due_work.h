#ifndef RUM_AGENT_API_DUE_WORK_H_
#define RUM_AGENT_API_DUE_WORK_H_

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"

namespace rum {

// Does work when it is due, in turn on a thread that sleeps until then. Thread-safe.
class DueWork {
 public:
  using Clock = std::chrono::steady_clock;
  using Deadline = std::multiset<Clock::time_point>::iterator;

  // `on_deadline`: called when a deadline has passed, and from then on every few milliseconds until
  // it is taken back.
  explicit DueWork(void (*on_deadline)()) : on_deadline_(on_deadline) {}
  ~DueWork();  // without what is not due yet
  DueWork(const DueWork&) = delete;
  DueWork& operator=(const DueWork&) = delete;

  absl::Status Begin();  // once
  uint64_t At(Clock::time_point due, absl::AnyInvocable<void()> work);
  // False: it was done, or is being done.
  bool Cancel(uint64_t number);
  // Whether it is its thread that asks.
  bool IsWorking() const { return std::this_thread::get_id() == thread_.get_id(); }
  Deadline Add(Clock::time_point deadline);
  void TakeBack(Deadline deadline);

 private:
  using Place = std::pair<Clock::time_point, uint64_t>;

  void Work();
  void Sleep(std::unique_lock<std::mutex>* guard, Clock::time_point now);

  void (*const on_deadline_)();
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<Place, absl::AnyInvocable<void()>> work_;
  std::map<uint64_t, Clock::time_point> due_;  // of each, by its number
  std::multiset<Clock::time_point> deadlines_;
  Clock::time_point until_ = Clock::time_point::max();  // how long it sleeps
  uint64_t last_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace rum

#endif  // RUM_AGENT_API_DUE_WORK_H_
