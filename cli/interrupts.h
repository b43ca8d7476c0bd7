#ifndef RUM_CLI_INTERRUPTS_H_
#define RUM_CLI_INTERRUPTS_H_

#include <signal.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace rum {

// SIGINT, SIGTERM and SIGHUP as events instead of an end: the first one calls whoever is at work,
// the second one ends the process with 130. To be made before other threads are; one a process.
class Interrupts {
 public:
  Interrupts();
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  // What the first one calls, from another thread; at once, when there has been one. nullptr:
  // nobody.
  void SetAtWork(std::function<void()> interrupt);
  bool any() const { return any_; }
  void Wait();  // until there has been one

 private:
  void Listen();

  sigset_t signals_;
  std::atomic<bool> any_ = false;
  std::atomic<bool> ending_ = false;
  std::mutex mutex_;
  std::condition_variable came_;
  std::function<void()> interrupt_;
  std::thread listener_;
};

}  // namespace rum

#endif  // RUM_CLI_INTERRUPTS_H_
