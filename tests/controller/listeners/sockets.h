#ifndef RUM_TESTS_CONTROLLER_LISTENERS_SOCKETS_H_
#define RUM_TESTS_CONTROLLER_LISTENERS_SOCKETS_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "controller/base/fd.h"
#include "controller/listeners/listener_set.h"

namespace rum {

// Blocking loopback sockets whose reads fail after 20 s. -1: refused.
Fd Listen(const std::string& address, uint16_t port);
Fd Connect(const std::string& address, uint16_t port);
uint16_t LocalPort(const Fd& socket);
uint16_t FreePort();

bool WriteAll(int fd, const std::string& data);
std::string ReadExactly(int fd, size_t size);  // shorter at the end
std::string ReadLine(int fd);
std::string Echo(int fd, const std::string& line);
// What a read of nothing more says: 0 the end, ECONNRESET a reset, -1 there was data.
int EndOf(int fd);

bool SocketPair(Fd* ours, Fd* theirs);
size_t OpenDescriptors();

// The same bytes for the same seed.
std::string Pattern(size_t size, uint32_t seed);

// Echoes on every connection, each on a thread of its own.
class EchoServer {
 public:
  EchoServer();
  ~EchoServer();
  uint16_t port() const { return port_; }
  int accepted() const { return accepted_; }

 private:
  Fd listener_;
  const uint16_t port_;
  std::atomic<int> accepted_ = 0;
  std::thread acceptor_;
  std::vector<std::thread> threads_;
};

// A guest with a real TCP server in it, at one port whatever port is dialed: it says the dialed
// port's number, echoes until it is told the end, says "bye" and closes. Port 1 refuses.
class EchoGuest {
 public:
  EchoGuest();
  ~EchoGuest();
  Dialer dialer();

 private:
  Fd listener_;
  std::thread acceptor_;
};

// The same without TCP: a pair of sockets, as the agent's client makes them.
void DialEchoPair(uint16_t port, std::function<void(absl::StatusOr<int>)> done);

}  // namespace rum

#endif  // RUM_TESTS_CONTROLLER_LISTENERS_SOCKETS_H_
