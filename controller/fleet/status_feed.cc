#include "controller/fleet/status_feed.h"

#include <utility>

#include "absl/time/clock.h"
#include "controller/decide/history.h"
#include "controller/decide/status.h"

namespace rum {

using Lock = std::unique_lock<std::mutex>;

bool StatusFeed::Subscription::Next(absl::Duration patience, News* news) {
  Lock lock(mutex_);
  changed_.wait_for(lock, absl::ToChronoNanoseconds(patience),
                    [this] { return ended_ || !news_.empty(); });
  if (news_.empty()) return false;
  *news = std::move(news_.front());
  news_.pop_front();
  return true;
}

bool StatusFeed::Subscription::ended() const {
  Lock lock(mutex_);
  return ended_ && news_.empty();
}

void StatusFeed::Subscription::Push(News news) {
  Lock lock(mutex_);
  if (const auto* status = std::get_if<MachineStatus>(&news)) {
    if (SameReport(last_, *status)) return;
    last_ = *status;
  }
  news_.push_back(std::move(news));
  if (news_.size() > kMostEvents) news_.pop_front();
  changed_.notify_all();
}

std::shared_ptr<StatusFeed::Subscription> StatusFeed::Subscribe() {
  auto subscription = std::make_shared<Subscription>();
  Lock lock(mutex_);
  subscription->ended_ = ended_;
  subscriptions_.push_back(subscription);
  return subscription;
}

bool StatusFeed::watched() const {
  Lock lock(mutex_);
  for (const auto& subscription : subscriptions_) {
    if (!subscription.expired()) return true;
  }
  return false;
}

template <typename Visit>
void StatusFeed::ForEach(const Visit& visit) {
  for (auto it = subscriptions_.begin(); it != subscriptions_.end();) {
    if (const std::shared_ptr<Subscription> subscription = it->lock()) {
      visit(*subscription);
      ++it;
    } else {
      it = subscriptions_.erase(it);
    }
  }
}

void StatusFeed::Publish(const MachineStatus& status, Clock::time_point read_at) {
  Lock lock(mutex_);
  ForEach([&](Subscription& subscription) {
    if (read_at >= subscription.begun_) subscription.Push(status);
  });
}

void StatusFeed::PublishEvents(const MachineRecord& record) {
  Lock lock(mutex_);
  for (const Event& event : record.events()) {
    if (last_event_ < 0 || event.number() <= last_event_) continue;
    ForEach([&](Subscription& subscription) { subscription.Push(event); });
  }
  last_event_ = record.last_event();
}

void StatusFeed::End() {
  Lock lock(mutex_);
  ended_ = true;
  ForEach([](Subscription& subscription) {
    Lock inner(subscription.mutex_);
    subscription.ended_ = true;
    subscription.changed_.notify_all();
  });
}

}  // namespace rum
