#ifndef RUM_TESTS_EVENTUALLY_H_
#define RUM_TESTS_EVENTUALLY_H_

#include <chrono>
#include <functional>

namespace rum {

// Looks again and again until what others bring about holds; false: it did not within `limit`.
bool Eventually(const std::function<bool()>& holds,
                std::chrono::seconds limit = std::chrono::seconds(20));

}  // namespace rum

#endif  // RUM_TESTS_EVENTUALLY_H_
