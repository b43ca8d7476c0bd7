#ifndef RUM_CONTROLLER_LISTENERS_IO_THREAD_H_
#define RUM_CONTROLLER_LISTENERS_IO_THREAD_H_

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <functional>
#include <future>
#include <type_traits>

namespace rum {

// The one thread of this process that owns every forwarded socket. It lives until the process ends.
boost::asio::io_context& IoContext();

// Runs `work` on that thread and waits for its result. Not to be called from that thread.
template <typename Work>
auto OnIoThread(Work work) {
  std::packaged_task<std::invoke_result_t<Work>()> task(std::move(work));
  auto result = task.get_future();
  boost::asio::post(IoContext(), [&task] { task(); });
  return result.get();
}

}  // namespace rum

#endif  // RUM_CONTROLLER_LISTENERS_IO_THREAD_H_
