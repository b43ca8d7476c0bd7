#include "controller/guests/channel_opening.h"

#include <unistd.h>

#include <utility>

#include "agent-api/threads.h"

namespace rum {

ChannelOpening::ChannelOpening(ChannelOpener open, Answer answer)
    : answer_(std::move(answer)), open_(std::move(open)) {}

ChannelOpening::~ChannelOpening() {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

absl::Status ChannelOpening::Begin() {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (thread_.joinable()) return absl::OkStatus();
  absl::StatusOr<std::thread> thread = StartThread([this] { Work(); });
  if (!thread.ok()) return thread.status();
  thread_ = *std::move(thread);
  return absl::OkStatus();
}

bool ChannelOpening::Want() {
  const std::lock_guard<std::mutex> guard(mutex_);
  changed_.notify_all();
  return !std::exchange(wanted_, true);
}

void ChannelOpening::Forget() {
  const std::lock_guard<std::mutex> guard(mutex_);
  wanted_ = false;
  ++forgotten_;
}

void ChannelOpening::Become(ChannelOpener open) {
  const std::lock_guard<std::mutex> guard(mutex_);
  open_ = std::move(open);
}

void ChannelOpening::Work() {
  std::unique_lock<std::mutex> guard(mutex_);
  for (;;) {
    changed_.wait(guard, [this] { return wanted_ || stopping_; });
    if (stopping_) return;
    const ChannelOpener open = open_;
    const int forgotten = forgotten_;
    guard.unlock();
    absl::StatusOr<int> channel = absl::UnavailableError("the machine is off");
    if (open) channel = open();
    guard.lock();
    if (forgotten != forgotten_) {  // it is of a process that is no more
      if (channel.ok()) close(*channel);
      continue;
    }
    wanted_ = false;
    guard.unlock();
    answer_(channel);
    guard.lock();
  }
}

}  // namespace rum
