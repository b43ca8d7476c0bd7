#include "tests/bench/traffic.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace rum::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMessage = 64;

class Socket {
 public:
  explicit Socket(uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const timeval limit{120, 0};
    const int on = 1;
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connected_ = connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  Socket(Socket&& other) noexcept : fd_(other.fd_), connected_(other.connected_) { other.fd_ = -1; }
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }

  int fd() const { return fd_; }
  bool connected() const { return connected_; }
  bool Send(const std::string& text) {
    size_t sent = 0;
    while (sent < text.size()) {
      const ssize_t n = send(fd_, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return false;
      sent += static_cast<size_t>(n);
    }
    return true;
  }
  bool Receive(size_t size) {
    std::vector<char> buffer(std::min<size_t>(size, 256 * 1024));
    while (size > 0) {
      const ssize_t n = read(fd_, buffer.data(), std::min(size, buffer.size()));
      if (n <= 0) return false;
      size -= static_cast<size_t>(n);
    }
    return true;
  }

 private:
  int fd_;
  bool connected_ = false;
};

absl::Status Failed(const char* what, uint16_t port) {
  return absl::InternalError(absl::StrCat(what, " on port ", port, " failed"));
}

double Ms(Clock::duration time) { return std::chrono::duration<double, std::milli>(time).count(); }

}  // namespace

absl::StatusOr<double> Upload(uint16_t port, size_t bytes) {
  Socket socket(port);
  const std::string chunk(256 * 1024, 'u');
  const auto begin = Clock::now();
  if (!socket.connected() || !socket.Send("S")) return Failed("upload", port);
  for (size_t sent = 0; sent < bytes; sent += chunk.size()) {
    if (!socket.Send(chunk)) return Failed("upload", port);
  }
  shutdown(socket.fd(), SHUT_WR);
  if (!socket.Receive(1)) return Failed("upload", port);
  return static_cast<double>(bytes) / 1000 / Ms(Clock::now() - begin);
}

absl::StatusOr<double> Download(uint16_t port, size_t bytes) {
  Socket socket(port);
  char ask[16];
  std::snprintf(ask, sizeof ask, "D%08zx", bytes);
  const auto begin = Clock::now();
  if (!socket.connected() || !socket.Send(ask) || !socket.Receive(bytes)) {
    return Failed("download", port);
  }
  return static_cast<double>(bytes) / 1000 / Ms(Clock::now() - begin);
}

absl::StatusOr<Series> Echo(uint16_t port, size_t connections, size_t samples) {
  struct Connection {
    Socket socket;
    size_t received = 0;
    Clock::time_point sent;
  };
  std::vector<Connection> all;
  for (size_t i = 0; i < connections; ++i) {
    all.push_back({Socket(port), 0, {}});
    if (!all.back().socket.connected() || !all.back().socket.Send("E")) {
      return Failed("connecting for echoes", port);
    }
  }
  const std::string message(kMessage, 'e');
  // An echo each before the first that counts: connecting is not what is measured here.
  for (Connection& connection : all) connection.socket.Send(message);
  for (Connection& connection : all) {
    if (!connection.socket.Receive(kMessage)) return Failed("a first echo", port);
  }
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  for (size_t i = 0; i < connections; ++i) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = i;
    epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].socket.fd(), &event);
  }
  for (Connection& connection : all) {
    connection.sent = Clock::now();
    connection.socket.Send(message);
  }
  Series series;
  std::vector<epoll_event> events(connections);
  absl::Status status;
  while (status.ok() && series.ms.size() < samples) {
    const int ready = epoll_wait(epoll, events.data(), static_cast<int>(events.size()), 120000);
    if (ready <= 0) status = Failed("an echo", port);
    for (int i = 0; i < ready; ++i) {
      Connection& connection = all[events[static_cast<size_t>(i)].data.u64];
      char buffer[kMessage];
      const ssize_t n = read(connection.socket.fd(), buffer, sizeof buffer - connection.received);
      if (n <= 0) status = Failed("an echo", port);
      connection.received += static_cast<size_t>(std::max<ssize_t>(n, 0));
      if (connection.received < kMessage) continue;
      const auto now = Clock::now();
      series.ms.push_back(Ms(now - connection.sent));
      connection.received = 0;
      connection.sent = now;
      connection.socket.Send(message);
    }
  }
  close(epoll);
  if (!status.ok()) return status;
  return series;
}

absl::StatusOr<Series> FirstByte(uint16_t port, size_t samples) {
  Series series;
  const std::string message = "E" + std::string(kMessage, 'f');
  for (size_t i = 0; i < samples; ++i) {
    const auto begin = Clock::now();
    Socket socket(port);
    if (!socket.connected() || !socket.Send(message) || !socket.Receive(1)) {
      return Failed("a first byte", port);
    }
    series.ms.push_back(Ms(Clock::now() - begin));
  }
  return series;
}

}  // namespace rum::bench
