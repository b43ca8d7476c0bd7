#include "controller/guests/call_stream.h"

#include <algorithm>
#include <utility>

#include "controller/guests/frames.h"

namespace rum {

bool CallStream::MaySend(size_t bytes) {
  std::unique_lock<std::mutex> guard(mutex_);
  changed_.wait(guard, [this] { return room_ > 0 || stopped_; });
  if (stopped_) return false;
  room_ -= static_cast<int64_t>(bytes + kEach);
  return true;
}

void CallStream::Grow(uint64_t bytes) {
  const std::lock_guard<std::mutex> guard(mutex_);
  const auto most = static_cast<int64_t>(kWindow);
  room_ =
      std::min(most, room_ + static_cast<int64_t>(std::min<uint64_t>(bytes, 2 * kMostFrameBytes)));
  changed_.notify_all();
}

bool CallStream::Came(std::string message) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (broken_ || at_end_) return true;  // and is dropped
  // The last one may be larger than the room that was left.
  if (under_way_ >= kWindow) return false;
  under_way_ += message.size() + kEach;
  came_.push_back(std::move(message));
  changed_.notify_all();
  return true;
}

void CallStream::ComesToEnd() {
  const std::lock_guard<std::mutex> guard(mutex_);
  at_end_ = true;
  changed_.notify_all();
}

bool CallStream::Take(std::string* message, uint64_t* taken) {
  std::unique_lock<std::mutex> guard(mutex_);
  changed_.wait(guard, [this] { return !came_.empty() || at_end_ || broken_; });
  *taken = 0;
  if (broken_ || came_.empty()) return false;
  *message = std::move(came_.front());
  came_.pop_front();
  taken_ += message->size() + kEach;
  if (taken_ >= kWindow / 4) {
    under_way_ -= taken_;
    *taken = std::exchange(taken_, 0);
  }
  return true;
}

void CallStream::StopSending() {
  const std::lock_guard<std::mutex> guard(mutex_);
  stopped_ = true;
  changed_.notify_all();
}

void CallStream::Break() {
  const std::lock_guard<std::mutex> guard(mutex_);
  broken_ = stopped_ = true;
  changed_.notify_all();
}

}  // namespace rum
