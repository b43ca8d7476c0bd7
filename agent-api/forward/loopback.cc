#include "agent-api/forward/loopback.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

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
  return error;
}

}  // namespace rum
