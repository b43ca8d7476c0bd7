#include "controller/listeners/io_thread.h"

#include <signal.h>

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <mutex>
#include <thread>

#include "agent-api/threads.h"

namespace rum {
namespace {

// Never destroyed: threads of others may still post to it while the process ends.
boost::asio::io_context& TheContext() {
  static auto* const context = new boost::asio::io_context(1);
  return *context;
}

std::atomic<bool> io_thread_runs = false;

}  // namespace

boost::asio::io_context& IoContext() {
  // One that could not be started is, as soon as there are threads again.
  if (!io_thread_runs) StartIoThread().IgnoreError();
  return TheContext();
}

absl::Status StartIoThread() {
  static auto* const mutex = new std::mutex;
  const std::lock_guard<std::mutex> lock(*mutex);
  if (io_thread_runs) return absl::OkStatus();
  // Signals are for the thread that waits for them.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  absl::StatusOr<std::thread> thread = StartThread([] {
    const auto work = boost::asio::make_work_guard(TheContext());
    TheContext().run();
  });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (!thread.ok()) return thread.status();
  thread->detach();
  io_thread_runs = true;
  return absl::OkStatus();
}

}  // namespace rum
