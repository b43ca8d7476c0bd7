#ifndef RUM_AGENT_API_GUEST_PASSWORD_LOCK_H_
#define RUM_AGENT_API_GUEST_PASSWORD_LOCK_H_

#include <chrono>

#include "absl/status/status.h"
#include "agent-api/files/owned_fd.h"

namespace rum::guest {

// Keeps useradd, vipw and the like from /etc/group and /etc/gshadow while it lives, and is kept
// from them likewise: the lock of lckpwdf(3), without its alarm signal.
class PasswordLock {
 public:
  // Waits so long for whoever holds it.
  explicit PasswordLock(std::chrono::milliseconds patience);
  PasswordLock(const PasswordLock&) = delete;
  PasswordLock& operator=(const PasswordLock&) = delete;

  // Not ok: it is not held, and why.
  const absl::Status& status() const { return status_; }

 private:
  OwnedFd fd_;
  absl::Status status_;
};

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_PASSWORD_LOCK_H_
