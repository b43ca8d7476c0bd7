#ifndef RUM_CONTROLLER_LISTENERS_CARRIER_H_
#define RUM_CONTROLLER_LISTENERS_CARRIER_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "agent-api/forward/host_end.h"
#include "controller/base/fd.h"

namespace rum {

// A way into the guest that takes over clients' sockets, in place of giving out sockets to relay
// to. io thread only.
class Carrier {
 public:
  virtual ~Carrier() = default;
  // Takes over a non-blocking socket and carries it to the guest's port. An agent that is away is
  // waited for. 0: this way is closed, and the socket stays the caller's; else a number for
  // Abort(). `events` come later, or not at all when it is 0.
  virtual uint64_t Carry(Fd* client, uint16_t port, std::chrono::milliseconds patience,
                         CarryEvents events) = 0;
  virtual void Abort(uint64_t connection, const std::string& why) = 0;
  // Whether something listens at the guest's port: 0, or an errno, ENOTCONN where nobody can be
  // asked. False: this way is closed.
  virtual bool Probe(uint16_t port, std::function<void(int error)> done) = 0;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_LISTENERS_CARRIER_H_
