#include "agent-api/client/change_stream.h"

#include <chrono>
#include <utility>

#include "agent-api/channel/session_pace.h"
#include "agent-api/threads.h"

namespace rum {
namespace {

// An agent makes one notice of many changes. What comes faster waits in the guest, by the stream's
// window.
constexpr int kNoticeBurst = 10;
constexpr std::chrono::milliseconds kNoticeInterval{200};

}  // namespace

ChangeStream::ChangeStream(agent::Agent::Stub* stub, std::function<void()> on_change) {
  absl::StatusOr<std::thread> thread =
      StartThread([this, stub, on_change = std::move(on_change)] { Listen(stub, on_change); });
  if (thread.ok()) thread_ = *std::move(thread);
}

void ChangeStream::Listen(agent::Agent::Stub* stub, const std::function<void()>& on_change) {
  const auto reader = stub->Watch(&context_, agent::WatchRequest());
  Pace pace(kNoticeBurst, kNoticeInterval);
  for (agent::Changed change; reader->Read(&change);) {
    open_ = true;
    on_change();
    pace.Count(std::chrono::steady_clock::now());
    std::unique_lock<std::mutex> guard(mutex_);
    ended_.wait_until(guard, pace.Next(std::chrono::steady_clock::now()), [this] { return end_; });
  }
  open_ = false;
  reader->Finish();
}

ChangeStream::~ChangeStream() {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    end_ = true;
  }
  ended_.notify_all();
  context_.TryCancel();
  if (thread_.joinable()) thread_.join();
}

}  // namespace rum
