#include "controller/fleet/run_loop.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "agent-api/threads.h"
#include "controller/base/may_retry.h"

namespace rum {
namespace {

using Lock = std::unique_lock<std::mutex>;

// Events during a back-off bring the next try at most this near.
constexpr std::chrono::seconds kLeastPauseForEvents{1};

// Of a system that gives no thread now.
constexpr std::chrono::seconds kUntilThreads{1};

constexpr absl::Duration kNever = absl::Hours(24 * 365);  // an infinite one has no place on a clock

}  // namespace

RunLoop::RunLoop(std::function<RunEnd(const std::string& key)> run, RunLoopOptions options)
    : run_(std::move(run)), options_(std::move(options)), random_(std::random_device()()) {
  dispatcher_ = std::thread([this] { Dispatch(); });
  // Workers that cannot be had now come later.
  Lock lock(mutex_);
  while (static_cast<int>(workers_.size()) < options_.workers && AddWorker()) {
  }
}

void RunLoop::Wake(const std::string& name) {
  Lock lock(mutex_);
  Key& key = Named(name);
  Plan(key, std::max(Clock::now(), key.not_before));
}

void RunLoop::WakeFirst(const std::string& name) {
  Lock lock(mutex_);
  Key& key = Named(name);
  key.failures = 0;
  key.not_before = Time::min();
  if (key.queued) {
    queue_.remove(&key);
    queue_.push_front(&key);
  } else {
    Plan(key, Time::min());
  }
}

void RunLoop::WakeUnlessSettled(const std::string& name) {
  Lock lock(mutex_);
  Key& key = Named(name);
  if (!key.settled) Plan(key, std::max(Clock::now(), key.not_before));
}

void RunLoop::Forget(const std::string& name) {
  Lock lock(mutex_);
  auto found = keys_.find(name);
  if (found == keys_.end()) return;
  Key& key = found->second;
  key.forgotten = true;
  Unplan(key);
  if (!key.running) keys_.erase(found);
}

RunLoopStats RunLoop::Stats() {
  Lock lock(mutex_);
  const Time now = Clock::now();
  RunLoopStats stats;
  stats.keys = static_cast<int>(keys_.size());
  stats.queued = static_cast<int>(queue_.size());
  for (auto due = timeline_.begin(); due != timeline_.end() && due->first <= now; ++due)
    ++stats.queued;
  for (const auto& [name, key] : keys_) stats.retrying += key.failures > 0 ? 1 : 0;
  stats.workers = static_cast<int>(workers_.size());
  stats.busy = static_cast<int>(runs_.size());
  stats.stuck = Stuck(now);
  if (!runs_.empty()) stats.longest_run = absl::FromChrono(now - runs_.front());
  return stats;
}

void RunLoop::Stop() {
  {
    Lock lock(mutex_);
    stopping_ = true;
    work_.notify_all();
    dispatch_.notify_all();
  }
  if (dispatcher_.joinable()) dispatcher_.join();
  // Nobody adds workers now; those that end move among the lists under the lock.
  while (true) {
    std::list<std::thread> one;
    {
      Lock lock(mutex_);
      std::list<std::thread>& from = ended_.empty() ? workers_ : ended_;
      if (from.empty()) return;
      one.splice(one.begin(), from, from.begin());
    }
    one.front().join();
  }
}

RunLoop::Key& RunLoop::Named(const std::string& name) {
  auto [entry, fresh] = keys_.try_emplace(name);
  if (fresh) entry->second.name = &entry->first;
  entry->second.forgotten = false;
  return entry->second;
}

void RunLoop::Plan(Key& key, Time at) {
  if (key.queued || at >= key.due) return;
  if (key.running) {
    key.due = at;
    return;
  }
  Unplan(key);
  if (at <= Clock::now()) return Enqueue(key, at == Time::min());
  key.due = at;
  timeline_.emplace(at, &key);
  if (timeline_.begin()->second == &key) dispatch_.notify_one();
}

void RunLoop::Unplan(Key& key) {
  timeline_.erase({key.due, &key});
  if (key.queued) queue_.remove(&key);
  key.queued = false;
  key.due = Time::max();
}

void RunLoop::Enqueue(Key& key, bool first) {
  key.queued = true;
  key.due = Time::max();
  queue_.insert(first ? queue_.begin() : queue_.end(), &key);
  work_.notify_one();
  if (static_cast<int>(queue_.size()) > idle_) dispatch_.notify_one();
}

bool RunLoop::AddWorker() {
  workers_.emplace_back();
  const auto self = std::prev(workers_.end());
  absl::StatusOr<std::thread> worker = StartThread([this, self] { Work(self); });
  if (!worker.ok()) {
    workers_.erase(self);
    return false;
  }
  *self = *std::move(worker);
  return true;
}

void RunLoop::Work(std::list<std::thread>::iterator self) {
  Lock lock(mutex_);
  while (!stopping_) {
    if (queue_.empty()) {
      const bool surplus = static_cast<int>(workers_.size()) > options_.workers;
      ++idle_;
      const bool woken =
          !surplus || work_.wait_for(lock, absl::ToChronoNanoseconds(options_.surplus_lingers)) ==
                          std::cv_status::no_timeout;
      if (!surplus) work_.wait(lock);
      --idle_;
      if (woken || stopping_ || !queue_.empty() ||
          static_cast<int>(workers_.size()) <= options_.workers) {
        continue;
      }
      ended_.splice(ended_.end(), workers_, self);
      dispatch_.notify_one();
      return;
    }
    Key& key = *queue_.front();
    queue_.pop_front();
    key.queued = false;
    key.running = true;
    const auto begin = runs_.insert(runs_.end(), Clock::now());
    lock.unlock();
    const std::string name = *key.name;
    const RunEnd end = run_(name);
    lock.lock();
    runs_.erase(begin);
    const absl::Time retry = Finish(key, end);
    if (retry == absl::InfiniteFuture() || !options_.on_retry) continue;
    lock.unlock();
    options_.on_retry(name, retry);
    lock.lock();
  }
}

void RunLoop::Dispatch() {
  Lock lock(mutex_);
  while (!stopping_) {
    JoinEnded();
    const Time now = Clock::now();
    while (!timeline_.empty() && timeline_.begin()->first <= now) {
      Key& key = *timeline_.begin()->second;
      timeline_.erase(timeline_.begin());
      Enqueue(key, false);
    }
    Time next = timeline_.empty() ? Time::max() : timeline_.begin()->first;
    if (static_cast<int>(queue_.size()) > idle_) next = std::min(next, GrowIfNeeded(now));
    if (next == Time::max()) {
      dispatch_.wait(lock);
    } else {
      dispatch_.wait_until(lock, next);
    }
  }
}

// They need the lock no more.
void RunLoop::JoinEnded() {
  for (std::thread& worker : ended_) worker.join();
  ended_.clear();
}

int RunLoop::Stuck(Time now) const {
  const Time limit = now - absl::ToChronoNanoseconds(options_.stuck_after);
  int stuck = 0;
  for (auto run = runs_.begin(); run != runs_.end() && *run <= limit; ++run) ++stuck;
  return stuck;
}

RunLoop::Time RunLoop::GrowIfNeeded(Time now) {
  const int stuck = Stuck(now);
  const int all = static_cast<int>(workers_.size());
  if (all >= options_.most_workers) return Time::max();
  if (all - stuck < options_.workers) return AddWorker() ? now : now + kUntilThreads;
  // What goes on, or is about to begin, may get stuck.
  const bool none = stuck == static_cast<int>(runs_.size());
  const Time begin = none ? now : *std::next(runs_.begin(), stuck);
  return begin + absl::ToChronoNanoseconds(options_.stuck_after);
}

absl::Time RunLoop::Finish(Key& key, const RunEnd& end) {
  key.running = false;
  if (key.forgotten) {
    keys_.erase(std::string(*key.name));
    return absl::InfiniteFuture();
  }
  // Before the other clock, so that no run is earlier than it was told.
  const absl::Time told = absl::Now();
  const Time now = Clock::now();
  const Time woken = std::exchange(key.due, Time::max());
  Time next = now + Jittered(end.resync.value_or(options_.resync), 0.5, 1.5);
  key.not_before = Time::min();
  key.settled = end.status.ok();
  if (MayRetry(end.status)) {
    const int doublings = std::min(key.failures++, 20);
    const absl::Duration pause =
        std::min(options_.first_backoff * (1 << doublings), options_.longest_backoff);
    const Clock::duration jittered = Jittered(pause, 1, 1.25);
    next = now + jittered;
    key.not_before = now + std::min<Clock::duration>(jittered, kLeastPauseForEvents);
  } else {
    key.failures = 0;
  }
  // Who is to be ahead of all others had no part in this failure.
  if (woken == Time::min()) {
    Plan(key, woken);
    return absl::InfiniteFuture();
  }
  if (woken != Time::max()) next = std::min(next, std::max(woken, key.not_before));
  Plan(key, next);
  return key.failures > 0 ? told + absl::FromChrono(next - now) : absl::InfiniteFuture();
}

// So that many machines do not move in step.
RunLoop::Clock::duration RunLoop::Jittered(absl::Duration duration, double least, double most) {
  const double factor = std::uniform_real_distribution<double>(least, most)(random_);
  return absl::ToChronoNanoseconds(std::min(duration, kNever) * factor);
}

}  // namespace rum
