#ifndef RUM_AGENT_API_GUEST_UNATTENDED_BOOT_H_
#define RUM_AGENT_API_GUEST_UNATTENDED_BOOT_H_

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "agent-api/guest/scripts.h"

namespace rum::guest {

// Runs the last known boot script when the guest boots and no host comes to do it. A host that is
// there decides instead: it knows the file. When it goes before a boot script was begun in this
// boot, the wait begins again.
class UnattendedBoot {
 public:
  // `scripts` lives as long as the process, as this does.
  explicit UnattendedBoot(Scripts* scripts,
                          std::chrono::milliseconds patience = std::chrono::seconds(5));
  // A session has begun; `socket`, one end of it, stays the caller's.
  void HostCame(int socket);

 private:
  void Wait();

  Scripts* const scripts_;
  const std::chrono::milliseconds patience_;
  std::mutex mutex_;
  std::condition_variable came_;
  int session_ = -1;  // a duplicate, whose hang-up is the session's end
};

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_UNATTENDED_BOOT_H_
