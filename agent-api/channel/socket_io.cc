#include "agent-api/channel/socket_io.h"

#include <sys/socket.h>

#include <cerrno>

namespace rum {

bool SocketPair(int* one, int* other) {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0) return false;
  *one = fds[0];
  *other = fds[1];
  return true;
}

bool SendAll(int socket, const std::string& data) {
  for (size_t done = 0; done < data.size();) {
    const ssize_t n = send(socket, data.data() + done, data.size() - done, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    done += static_cast<size_t>(n);
  }
  return true;
}

}  // namespace rum
