#include "agent-api/forward/loopback.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace rum {
namespace {

// A non-blocking socket that is being connected to the port on 127.0.0.1 or ::1; -1 with errno.
int BeginConnect(int family, uint16_t port) {
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  v6.sin6_addr = in6addr_loopback;
  const int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const int result = family == AF_INET
                         ? connect(fd, reinterpret_cast<const sockaddr*>(&v4), sizeof v4)
                         : connect(fd, reinterpret_cast<const sockaddr*>(&v6), sizeof v6);
  if (result == 0 || errno == EINPROGRESS) return fd;
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

sockaddr_in6 NameOf(int socket, int (*get)(int, sockaddr*, socklen_t*)) {
  sockaddr_in6 name{};
  socklen_t size = sizeof name;
  if (get(socket, reinterpret_cast<sockaddr*>(&name), &size) != 0) name = {};
  return name;
}

// A port that nobody listens at may be the one that the kernel chose for the connect itself: then
// TCP connects the socket to itself, and it would be told its own words.
bool MetItself(int socket) {
  const sockaddr_in6 own = NameOf(socket, getsockname);
  const sockaddr_in6 peer = NameOf(socket, getpeername);
  const bool tcp = own.sin6_family == AF_INET || own.sin6_family == AF_INET6;
  return tcp && std::memcmp(&own, &peer, sizeof own) == 0;
}

}  // namespace

int LoopbackConnect::Next() {
  while (tried_ < 2) {
    const int fd = BeginConnect(tried_++ == 0 ? AF_INET : AF_INET6, port_);
    if (fd >= 0) return fd;
    Failed(errno);
  }
  return -1;
}

void LoopbackConnect::Failed(int error) {
  if (error_ == 0) error_ = error;
}

int LoopbackConnect::Outcome(int socket) {
  int error = 0;
  socklen_t size = sizeof error;
  if (getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
  if (error != 0 || !MetItself(socket)) return error;
  // Closed without a word: its port must not wait for the end of a connection that never was.
  const linger reset{1, 0};
  setsockopt(socket, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  return ECONNREFUSED;
}

}  // namespace rum
