#include "controller/run_loop.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/time/clock.h"

namespace rum {
namespace {

using Lock = std::unique_lock<std::mutex>;

bool MayRetry(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) || absl::IsAborted(status);
}

}  // namespace

RunLoop::RunLoop(std::function<absl::Status(const std::string& key)> run, RunLoopOptions options)
    : run_(std::move(run)), options_(options), random_(std::random_device()()) {
  for (int i = 0; i < options_.workers; ++i) workers_.emplace_back([this] { Work(); });
}

void RunLoop::Wake(const std::string& name) {
  Lock lock(mutex_);
  Key& key = keys_[name];
  key.forgotten = false;
  key.due = std::min(key.due, std::max(absl::Now(), key.not_before));
  changed_.notify_one();
}

void RunLoop::Forget(const std::string& name) {
  Lock lock(mutex_);
  auto found = keys_.find(name);
  if (found == keys_.end()) return;
  found->second.forgotten = true;
  if (!found->second.running) keys_.erase(found);
}

void RunLoop::Stop() {
  {
    Lock lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  for (std::thread& worker : workers_) {
    if (worker.joinable()) worker.join();
  }
}

std::map<std::string, RunLoop::Key>::iterator RunLoop::Next() {
  auto next = keys_.end();
  for (auto it = keys_.begin(); it != keys_.end(); ++it) {
    if (it->second.running || it->second.due == absl::InfiniteFuture()) continue;
    if (next == keys_.end() || it->second.due < next->second.due) next = it;
  }
  return next;
}

void RunLoop::Work() {
  Lock lock(mutex_);
  while (!stopping_) {
    auto next = Next();
    if (next == keys_.end()) {
      changed_.wait(lock);
      continue;
    }
    const absl::Duration wait = next->second.due - absl::Now();
    if (wait > absl::ZeroDuration()) {
      changed_.wait_for(lock, absl::ToChronoNanoseconds(wait));
      continue;
    }
    const std::string name = next->first;
    next->second.due = absl::InfiniteFuture();
    next->second.running = true;
    lock.unlock();
    const absl::Status status = run_(name);
    lock.lock();
    const absl::Time retry = Finish(name, status);
    if (retry == absl::InfiniteFuture() || !options_.on_retry) continue;
    lock.unlock();
    options_.on_retry(name, retry);
    lock.lock();
  }
}

absl::Time RunLoop::Finish(const std::string& name, const absl::Status& status) {
  auto found = keys_.find(name);
  Key& key = found->second;
  key.running = false;
  if (key.forgotten) {
    keys_.erase(found);
    return absl::InfiniteFuture();
  }
  absl::Duration pause = options_.resync;
  key.not_before = absl::InfinitePast();
  if (MayRetry(status)) {
    const int doublings = std::min(key.failures++, 20);
    pause = std::min(options_.first_backoff * (1 << doublings), options_.longest_backoff);
    key.not_before = absl::Now() + std::min(pause, absl::Seconds(1));
    key.due = std::max(key.due, key.not_before);
  } else {
    key.failures = 0;
  }
  key.due = std::min(key.due, absl::Now() + Jittered(pause));
  changed_.notify_one();
  return MayRetry(status) ? key.due : absl::InfiniteFuture();
}

// Up to a quarter later, so that many machines do not move in step.
absl::Duration RunLoop::Jittered(absl::Duration duration) {
  return duration * (1.0 + std::uniform_real_distribution<double>(0, 0.25)(random_));
}

}  // namespace rum
