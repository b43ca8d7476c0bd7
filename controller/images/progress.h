#ifndef RUM_CONTROLLER_IMAGES_PROGRESS_H_
#define RUM_CONTROLLER_IMAGES_PROGRESS_H_

#include <algorithm>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "agent-api/steady_now.h"
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
  bool Due() const { return onlooker_.say && SteadyNow() >= next_; }
  // A number that grows: dropped when it comes too early.
  void Update(const std::string& text) {
    if (Due()) Emit(text);
  }
  // Something that must be known: waits for its turn, 0.1 s at most.
  void Say(const std::string& text) {
    if (!onlooker_.say) return;
    absl::SleepFor(std::min(next_ - SteadyNow(), kInterval));
    Emit(text);
  }

 private:
  static constexpr absl::Duration kInterval = absl::Milliseconds(100);

  void Emit(const std::string& text) {
    onlooker_.say(text);
    next_ = SteadyNow() + kInterval;
  }

  const Onlooker onlooker_;
  absl::Time next_ = absl::InfinitePast();
};

// "330 MB", "12 kB": decimal, as download pages say it.
std::string SizeText(int64_t bytes);

}  // namespace rum

#endif  // RUM_CONTROLLER_IMAGES_PROGRESS_H_
