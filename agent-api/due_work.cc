#include "agent-api/due_work.h"

#include <algorithm>

#include "absl/status/statusor.h"
#include "agent-api/threads.h"

namespace rum {
namespace {

constexpr std::chrono::milliseconds kAgain{10};

}  // namespace

absl::Status DueWork::Begin() {
  absl::StatusOr<std::thread> thread = StartThread([this] { Work(); });
  if (!thread.ok()) return thread.status();
  thread_ = *std::move(thread);
  return absl::OkStatus();
}

DueWork::~DueWork() {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

uint64_t DueWork::At(Clock::time_point due, absl::AnyInvocable<void()> work) {
  const std::lock_guard<std::mutex> guard(mutex_);
  const uint64_t number = ++last_;
  due_[number] = due;
  work_[{due, number}] = std::move(work);
  if (due < until_) changed_.notify_all();
  return number;
}

bool DueWork::Cancel(uint64_t number) {
  absl::AnyInvocable<void()> cancelled;  // ends after the lock: it may hold what asks for more
  const std::lock_guard<std::mutex> guard(mutex_);
  const auto found = due_.extract(number);
  if (found.empty()) return false;
  const auto work = work_.find({found.mapped(), number});
  cancelled = std::move(work->second);
  work_.erase(work);
  return true;
}

DueWork::Deadline DueWork::Add(Clock::time_point deadline) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (deadline < until_) changed_.notify_all();
  return deadlines_.insert(deadline);
}

void DueWork::TakeBack(Deadline deadline) {
  const std::lock_guard<std::mutex> guard(mutex_);
  deadlines_.erase(deadline);
}

void DueWork::Sleep(std::unique_lock<std::mutex>* guard, Clock::time_point now) {
  until_ = Clock::time_point::max();
  if (!work_.empty()) until_ = work_.begin()->first.first;
  if (!deadlines_.empty()) until_ = std::min(until_, std::max(*deadlines_.begin(), now + kAgain));
  if (until_ == Clock::time_point::max()) {
    changed_.wait(*guard);
  } else {
    changed_.wait_until(*guard, until_);
  }
}

void DueWork::Work() {
  std::unique_lock<std::mutex> guard(mutex_);
  while (!stopping_) {
    const auto now = Clock::now();
    if (!work_.empty() && work_.begin()->first.first <= now) {
      auto due = work_.extract(work_.begin());
      due_.erase(due.key().second);
      guard.unlock();
      due.mapped()();
      due = {};
      guard.lock();
      continue;
    }
    if (!deadlines_.empty() && *deadlines_.begin() <= now) {
      guard.unlock();
      on_deadline_();
      guard.lock();
    }
    if (!stopping_) Sleep(&guard, Clock::now());
  }
}

}  // namespace rum
