#include "agent-api/channel/port_watch.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>

namespace rum {

void PortWatch::Begin(int epoll, int port) {
  epoll_ = epoll;
  port_ = port;
  readable_ = writable_ = true;
  Watch(EPOLL_CTL_ADD, false);
}

void PortWatch::Watch(int operation, bool for_room) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP | EPOLLET | (for_room ? EPOLLOUT : 0);
  epoll_ctl(epoll_, operation, port_, &event);
  for_room_ = for_room;
}

void PortWatch::OnEvent() {
  // There is an event of room for each piece that the other side takes. Where room is no news, it
  // only wakes us, and in place of the one who was about to handle that piece.
  if (for_room_ && writable_) Watch(EPOLL_CTL_MOD, false);
  readable_ = writable_ = true;
}

ssize_t PortWatch::Read(char* data, size_t size) {
  const ssize_t n = read(port_, data, size);
  readable_ = n > 0 || (n < 0 && errno == EINTR);
  return n;
}

ssize_t PortWatch::Write(const char* data, size_t size) {
  const ssize_t n = write(port_, data, size);
  writable_ = n > 0 || (n < 0 && errno == EINTR);
  if (writable_ || for_room_) return n;
  const int error = errno;
  Watch(EPOLL_CTL_MOD, true);  // which has an event at once if there is room by now
  errno = error;
  return n;
}

}  // namespace rum
