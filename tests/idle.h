#ifndef RUM_TESTS_IDLE_H_
#define RUM_TESTS_IDLE_H_

#include <chrono>
#include <string>
#include <vector>

namespace rum {

// How a thread stands, by the kernel's word.
struct ThreadLook {
  bool sleeps = false;  // waits for an event or a time
  long sleeps_begun = -1;
};
// Reads the text of a /proc/PID/task/TID/status (proc(5)).
ThreadLook ReadThreadLook(const std::string& status);
// Looks at one of this process; one that has ended does not sleep.
ThreadLook LookAtThread(int tid);

// The threads that a process has when this is made, but for the one that makes it.
class OtherThreads {
 public:
  // Opens what it will read, so that no descriptor is needed later. `process`: its number.
  explicit OtherThreads(const std::string& process = "self");
  ~OtherThreads();
  OtherThreads(const OtherThreads&) = delete;
  OtherThreads& operator=(const OtherThreads&) = delete;

  // Waits until all of them sleep and none has woken between two looks, as they do where nothing
  // spins and nothing is due at once. False: that did not come within `limit`.
  bool FallIdle(std::chrono::seconds limit = std::chrono::seconds(60)) const;

 private:
  std::vector<int> statuses_;
};

}  // namespace rum

#endif  // RUM_TESTS_IDLE_H_
