#ifndef RUM_CONTROLLER_IMAGES_PROGRESS_H_
#define RUM_CONTROLLER_IMAGES_PROGRESS_H_

#include <chrono>
#include <cstdint>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "controller/images/image_cache.h"

namespace rum {

// Keeps what is said of a fetch below ten texts a second.
class Progress {
 public:
  explicit Progress(Onlooker onlooker) : onlooker_(std::move(onlooker)) {}

  // Cancelled: nobody waits for the fetch any more.
  absl::Status GoOn() const {
    if (!onlooker_.gave_up || !onlooker_.gave_up()) return absl::OkStatus();
    return absl::CancelledError("interrupted");
  }

  // Whether Update() would say something now.
  bool Due() const { return onlooker_.say && Clock::now() >= next_; }
  // A number that grows: dropped when it comes too early.
  void Update(const std::string& text) {
    if (Due()) Emit(text);
  }
  // Something that must be known: waits for its turn, 0.1 s at most.
  void Say(const std::string& text) {
    if (!onlooker_.say) return;
    std::this_thread::sleep_until(next_);
    Emit(text);
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds kInterval{100};

  void Emit(const std::string& text) {
    onlooker_.say(text);
    next_ = Clock::now() + kInterval;
  }

  const Onlooker onlooker_;
  Clock::time_point next_ = Clock::time_point::min();
};

}  // namespace rum

#endif  // RUM_CONTROLLER_IMAGES_PROGRESS_H_
