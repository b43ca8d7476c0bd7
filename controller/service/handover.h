#ifndef RUM_CONTROLLER_SERVICE_HANDOVER_H_
#define RUM_CONTROLLER_SERVICE_HANDOVER_H_

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent-api/descriptors.h"
#include "controller/base/fd.h"

namespace rum {

// The end of a controller whose successor is there already: the successor connects to a unix
// socket, which asks the controller to end; it sends its listening sockets (SCM_RIGHTS) and ends,
// and its lock goes with it. Sockets are handed on, not bound anew, because between a close and a
// bind connections are refused. Not systemd's file descriptor store alone: most controllers are not
// started by systemd; where one is, `systemctl restart` goes through that store (service_notify.h).
class Handover {
 public:
  // `on_successor` is called once, on another thread, when a process of this user wants to succeed.
  static absl::StatusOr<std::unique_ptr<Handover>> Offer(const std::string& path,
                                                         std::function<void()> on_successor);
  ~Handover();  // `path` goes too, unless there is a successor, whose own may be there already
  Handover(const Handover&) = delete;
  Handover& operator=(const Handover&) = delete;

  // Ends the wait for a successor; returns whether there is one.
  bool Close();
  absl::Status Give(const std::vector<Fd>& sockets);

 private:
  Handover(std::string path, Fd listening);
  void Wait(const std::function<void()>& on_successor);

  const std::string path_;
  Fd listening_;
  Fd wake_;  // eventfd
  Fd successor_;
  SpareDescriptors spare_{1};
  std::thread waiter_;
};

// Takes, in the successor, what the controller that runs hands on. NotFound: none offers anything
// there.
absl::StatusOr<std::vector<Fd>> TakeOver(const std::string& path, absl::Duration patience);

}  // namespace rum

#endif  // RUM_CONTROLLER_SERVICE_HANDOVER_H_
