#include "controller/listeners/io_thread.h"

#include <boost/asio/executor_work_guard.hpp>
#include <thread>

namespace rum {

boost::asio::io_context& IoContext() {
  // Never destroyed: handlers of other threads' last moments may still post to it while the process
  // ends.
  static auto* const context = [] {
    auto* made = new boost::asio::io_context(1);
    std::thread([made] {
      const auto work = boost::asio::make_work_guard(*made);
      made->run();
    }).detach();
    return made;
  }();
  return *context;
}

}  // namespace rum
