#include "agent-api/channel/session_pace.h"

#include <algorithm>
#include <utility>

namespace rum {

Pace::Time Pace::Next(Time now) const {
  if (paid_ <= now) return now;
  return std::max(now, paid_ - (burst_ - 1) * interval_);
}

void Pace::Count(Time now) { paid_ = std::max(paid_, now) + interval_; }

bool Pace::Take(Time now) {
  if (Next(now) > now) return false;
  Count(now);
  return true;
}

void SessionPace::Began() {
  began_ = now_();
  open_ = true;
}

void SessionPace::Ended() {
  const Time now = now_();
  const bool lasted = std::exchange(open_, false) && now - began_ >= kLasted;
  broke_ = lasted ? 0 : broke_ + 1;
  if (broke_ <= kFree) return;
  const int doublings = std::min(broke_ - kFree - 1, 10);
  next_ = now + std::min<std::chrono::seconds>(kFirstWait * (1 << doublings), kLongestWait);
}

std::chrono::milliseconds SessionPace::Wait() const {
  const Time now = now_();
  if (next_ <= now) return std::chrono::milliseconds(0);
  return std::chrono::ceil<std::chrono::milliseconds>(next_ - now);
}

}  // namespace rum
