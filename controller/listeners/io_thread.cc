#include "controller/listeners/io_thread.h"

#include <signal.h>

#include <boost/asio/executor_work_guard.hpp>
#include <thread>

namespace rum {

boost::asio::io_context& IoContext() {
  // Never destroyed: threads of others may still post to it while the process ends.
  static auto* const context = [] {
    auto* made = new boost::asio::io_context(1);
    // Signals are for the thread that waits for them.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    std::thread([made] {
      const auto work = boost::asio::make_work_guard(*made);
      made->run();
    }).detach();
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return made;
  }();
  return *context;
}

}  // namespace rum
