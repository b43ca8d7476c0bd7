#ifndef RUM_CONTROLLER_BASE_ONLOOKER_H_
#define RUM_CONTROLLER_BASE_ONLOOKER_H_

#include <concepts>
#include <functional>
#include <string>
#include <utility>

namespace rum {

// Waits for long work, and may lose patience. Both may be empty; both are called on the thread
// of the work.
struct Onlooker {
  using Say = std::function<void(const std::string& text)>;

  Onlooker() = default;
  Onlooker(Say say, std::function<bool()> gave_up)
      : say(std::move(say)), gave_up(std::move(gave_up)) {}
  // Only listens, or is nobody.
  template <std::convertible_to<Say> T>
  Onlooker(T&& say)  // NOLINT(google-explicit-constructor,bugprone-forwarding-reference-overload)
      : say(std::forward<T>(say)) {}

  Say say;
  std::function<bool()> gave_up;  // asked now and then; true: the work ends with Cancelled
};

}  // namespace rum

#endif  // RUM_CONTROLLER_BASE_ONLOOKER_H_
