#ifndef RUM_AGENT_API_FORWARD_LOOPBACK_H_
#define RUM_AGENT_API_FORWARD_LOOPBACK_H_

#include <cstdint>

namespace rum {

// Connects to a port of this machine's loopback, 127.0.0.1 first and ::1 after it, without
// blocking.
class LoopbackConnect {
 public:
  explicit LoopbackConnect(uint16_t port) : port_(port) {}

  // Begins with the next address: a non-blocking socket, the caller's, that is writable when there
  // is an outcome. -1: there is no address left, and error() says why.
  int Next();
  // The attempt failed; keeps the first error, which is that of 127.0.0.1.
  void Failed(int error);
  int error() const { return error_; }

  // Returns how a socket that became writable got on: 0, or an errno. One that is connected to
  // itself is refused.
  static int Outcome(int socket);

 private:
  const uint16_t port_;
  int tried_ = 0;
  int error_ = 0;
};

}  // namespace rum

#endif  // RUM_AGENT_API_FORWARD_LOOPBACK_H_
