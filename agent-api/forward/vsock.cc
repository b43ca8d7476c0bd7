#include "agent-api/forward/vsock.h"

#include <sys/socket.h>
#include <unistd.h>

// After sys/socket.h, which it needs.
#include <linux/vm_sockets.h>

#include <cerrno>

namespace rum {
namespace {

sockaddr_vm Address(uint32_t cid, uint32_t port) {
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = cid;
  address.svm_port = port;
  return address;
}

int CloseFor(int fd, int error) {
  close(fd);
  errno = error;
  return -1;
}

int NewSocket() { return socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); }

}  // namespace

int ListenVsock(uint32_t port) {
  const int fd = NewSocket();
  if (fd < 0) return -1;
  const sockaddr_vm any = Address(VMADDR_CID_ANY, port);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0 ||
      listen(fd, SOMAXCONN) != 0) {
    return CloseFor(fd, errno);
  }
  return fd;
}

int ConnectVsock(uint32_t cid, uint32_t port) {
  const int fd = NewSocket();
  if (fd < 0) return -1;
  const sockaddr_vm to = Address(cid, port);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 && errno != EINPROGRESS) {
    return CloseFor(fd, errno);
  }
  return fd;
}

bool FromHostOrHere(int socket) {
  sockaddr_vm peer{};
  socklen_t size = sizeof peer;
  if (getpeername(socket, reinterpret_cast<sockaddr*>(&peer), &size) != 0) return false;
  return peer.svm_family != AF_VSOCK || peer.svm_cid == VMADDR_CID_HOST ||
         peer.svm_cid == VMADDR_CID_LOCAL;
}

}  // namespace rum
