#ifndef RUM_CONTROLLER_SERVICE_SERVICE_NOTIFY_H_
#define RUM_CONTROLLER_SERVICE_SERVICE_NOTIFY_H_

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "controller/base/fd.h"

// What systemd is told, and what it keeps, where it started this process (sd_notify(3)); else
// nothing happens.
namespace rum {

// "READY=1", "STOPPING=1", ... Returns whether somebody was told.
bool TellService(const std::string& state);

// Leaves listening sockets to systemd for the process that it starts next (FDSTORE=1).
void StoreWithService(const std::vector<Fd>& sockets);

// The sockets that systemd kept.
std::vector<Fd> SocketsOfService();

// Tells systemd's watchdog, where the unit has one, that `alive` returned; twice in its time.
class Watchdog {
 public:
  explicit Watchdog(std::function<void()> alive);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_SERVICE_SERVICE_NOTIFY_H_
