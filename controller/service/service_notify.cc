#include "controller/service/service_notify.h"

#include <systemd/sd-daemon.h>

#include <chrono>
#include <cstdint>
#include <utility>

#include "agent-api/threads.h"

namespace rum {

bool TellService(const std::string& state) { return sd_notify(0, state.c_str()) > 0; }

void StoreWithService(const std::vector<Fd>& sockets) {
  for (const Fd& socket : sockets) {
    const int fd = socket.get();
    // One by one: systemd takes as many as FileDescriptorStoreMax= lets it.
    sd_pid_notify_with_fds(0, 0, "FDSTORE=1\nFDNAME=rum-listening", &fd, 1);
  }
}

std::vector<Fd> SocketsOfService() {
  std::vector<Fd> sockets;
  const int count = sd_listen_fds(1);
  for (int i = 0; i < count; ++i) sockets.emplace_back(SD_LISTEN_FDS_START + i);
  return sockets;
}

Watchdog::Watchdog(std::function<void()> alive) {
  uint64_t limit_us = 0;
  if (sd_watchdog_enabled(0, &limit_us) <= 0) return;
  absl::StatusOr<std::thread> thread = StartThread([this, alive = std::move(alive), limit_us] {
    std::unique_lock<std::mutex> lock(mutex_);
    while (!ending_) {
      lock.unlock();
      alive();
      TellService("WATCHDOG=1");
      lock.lock();
      changed_.wait_for(lock, std::chrono::microseconds(limit_us / 2), [this] { return ending_; });
    }
  });
  // systemd starts one anew that tells nothing.
  if (thread.ok()) thread_ = *std::move(thread);
}

Watchdog::~Watchdog() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

}  // namespace rum
