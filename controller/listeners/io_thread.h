#ifndef RUM_CONTROLLER_LISTENERS_IO_THREAD_H_
#define RUM_CONTROLLER_LISTENERS_IO_THREAD_H_

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <future>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"

namespace rum {

// The one thread of this process that owns every forwarded socket. It starts at the first call and
// lives until the process ends, so that whoever holds something to post may always post it.
boost::asio::io_context& IoContext();

// Unavailable: there is no thread for it. Before anybody else needs it, who could only wait then.
absl::Status StartIoThread();

// Runs `work` on that thread and waits for its result; on that thread itself, at once.
template <typename Work>
auto OnIoThread(Work work) {
  if (IoContext().get_executor().running_in_this_thread()) return work();
  std::packaged_task<std::invoke_result_t<Work>()> task(std::move(work));
  auto result = task.get_future();
  boost::asio::post(IoContext(), [task = std::move(task)]() mutable { task(); });
  return result.get();
}

}  // namespace rum

#endif  // RUM_CONTROLLER_LISTENERS_IO_THREAD_H_
