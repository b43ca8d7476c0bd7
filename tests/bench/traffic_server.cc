#include "tests/bench/traffic_server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>

namespace rum::bench {
namespace {

constexpr size_t kChunk = 256 * 1024;
char buffer[kChunk];

struct Connection {
  char kind = 0;
  std::string request;
  std::string unsent;
  size_t left = 0;
};

// False: it is over.
bool Send(int fd, Connection* connection) {
  while (!connection->unsent.empty() || connection->left > 0) {
    const bool text = !connection->unsent.empty();
    const char* data = text ? connection->unsent.data() : buffer;
    const size_t size = text ? connection->unsent.size() : std::min(connection->left, kChunk);
    const ssize_t n = send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0) return errno == EAGAIN;
    if (text) {
      connection->unsent.erase(0, static_cast<size_t>(n));
    } else {
      connection->left -= static_cast<size_t>(n);
    }
  }
  return connection->kind != 'D' || connection->request.size() < 8;
}

bool Receive(int fd, Connection* connection) {
  for (;;) {
    const ssize_t n = recv(fd, buffer, kChunk, MSG_DONTWAIT);
    if (n < 0) return errno == EAGAIN;
    if (n == 0) {
      if (connection->kind == 'S' && send(fd, "S", 1, MSG_NOSIGNAL) < 0) return false;
      return false;
    }
    const char* data = buffer;
    size_t size = static_cast<size_t>(n);
    if (connection->kind == 0) connection->kind = *data++, --size;
    if (connection->kind == 'E') {
      connection->unsent.append(data, size);
      if (!Send(fd, connection)) return false;
    }
    if (connection->kind == 'D') {
      connection->request.append(data, size);
      if (connection->request.size() < 8) continue;
      connection->left = std::strtoul(connection->request.c_str(), nullptr, 16);
      return Send(fd, connection);
    }
  }
}

}  // namespace

int ServeTraffic(uint16_t port) {
  const int on = 1;
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return 1;
  if (listen(listener, 4096) != 0) return 1;
  const int epoll = epoll_create1(0);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = listener;
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  std::map<int, Connection> connections;
  epoll_event events[256];
  for (;;) {
    const int ready = epoll_wait(epoll, events, 256, -1);
    for (int i = 0; i < ready; ++i) {
      const int fd = events[i].data.fd;
      if (fd == listener) {
        const int accepted = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
        if (accepted < 0) continue;
        setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        event.events = EPOLLIN | EPOLLOUT | EPOLLET;
        event.data.fd = accepted;
        connections[accepted] = {};
        epoll_ctl(epoll, EPOLL_CTL_ADD, accepted, &event);
        continue;
      }
      Connection& connection = connections[fd];
      const bool going =
          (connection.kind != 'D' || connection.request.size() < 8 || Send(fd, &connection)) &&
          Receive(fd, &connection);
      if (going) continue;
      connections.erase(fd);
      close(fd);
    }
  }
}

}  // namespace rum::bench
