#ifndef RUM_AGENT_API_CHANNEL_SESSION_PACE_H_
#define RUM_AGENT_API_CHANNEL_SESSION_PACE_H_

#include <chrono>
#include <functional>
#include <utility>

namespace rum {

// Bounds how often something may be done: `burst` times at once, and then once in each `interval`.
// Pure over the times that it is told, which do not go back. Not thread-safe.
class Pace {
 public:
  using Time = std::chrono::steady_clock::time_point;
  Pace(int burst, std::chrono::milliseconds interval) : burst_(burst), interval_(interval) {}

  // When it may be done next: `now` or later.
  Time Next(Time now) const;
  // It is done now.
  void Count(Time now);
  // Counts it if it may be done now.
  bool Take(Time now);

 private:
  const int burst_;
  const std::chrono::milliseconds interval_;
  Time paid_ = Time::min();  // when all that was done is made up for
};

// How often the sessions of one guest may begin, and how much it may say about them: a guest that
// breaks each as soon as it began waits for the next one, longer each time. Outlives connections.
// Not thread-safe.
class SessionPace {
 public:
  using Time = Pace::Time;
  explicit SessionPace(std::function<Time()> now = std::chrono::steady_clock::now)
      : now_(std::move(now)) {}

  void Began();
  void Ended();  // also one that did not come about, because of what the guest said
  // Until the next session may be asked for.
  std::chrono::milliseconds Wait() const;
  // A control frame came. False: so many come from no agent.
  bool TakeControl() { return controls_.Take(now_()); }

  static constexpr std::chrono::seconds kLasted{5};  // what breaks earlier broke at once
  static constexpr int kFree = 16;                   // so many in a row mean no harm
  static constexpr std::chrono::seconds kFirstWait{1};
  static constexpr std::chrono::seconds kLongestWait{60};
  static constexpr int kControlBurst = 64;
  static constexpr std::chrono::milliseconds kControlInterval{100};

 private:
  const std::function<Time()> now_;
  Pace controls_{kControlBurst, kControlInterval};
  Time began_ = Time::min();
  Time next_ = Time::min();
  int broke_ = 0;  // in a row, at once
  bool open_ = false;
};

}  // namespace rum

#endif  // RUM_AGENT_API_CHANNEL_SESSION_PACE_H_
