#include "tests/controller/listeners/sockets.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>

namespace rum {
namespace {

struct Address {
  sockaddr_storage bytes{};
  socklen_t size = 0;
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&bytes); }
};

Address Parse(const std::string& literal, uint16_t port) {
  Address address;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address.bytes);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.bytes);
  if (inet_pton(AF_INET, literal.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET, v4->sin_port = htons(port), address.size = sizeof *v4;
  } else {
    inet_pton(AF_INET6, literal.c_str(), &v6->sin6_addr);
    v6->sin6_family = AF_INET6, v6->sin6_port = htons(port), address.size = sizeof *v6;
  }
  return address;
}

Fd Socket(const Address& address) {
  Fd fd(socket(address.bytes.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval limit{20, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  return fd;
}

// Echoes on `fd` after a greeting, then says goodbye.
void Serve(Fd fd, bool greet_from_peer, uint16_t port) {
  if (greet_from_peer) port = static_cast<uint16_t>(std::stoi("0" + ReadLine(fd.get())));
  bool ok = WriteAll(fd.get(), std::to_string(port) + "\n");
  std::string buffer(64 * 1024, '\0');
  while (ok) {
    const ssize_t got = read(fd.get(), buffer.data(), buffer.size());
    if (got < 0) return;
    if (got == 0) break;
    ok = WriteAll(fd.get(), buffer.substr(0, static_cast<size_t>(got)));
  }
  if (ok) WriteAll(fd.get(), "bye\n");
}

}  // namespace

Fd Listen(const std::string& literal, uint16_t port) {
  Address address = Parse(literal, port);
  Fd fd = Socket(address);
  if (bind(fd.get(), address.get(), address.size) != 0 || listen(fd.get(), SOMAXCONN) != 0) {
    return Fd();
  }
  return fd;
}

Fd Connect(const std::string& literal, uint16_t port) {
  Address address = Parse(literal, port);
  Fd fd = Socket(address);
  if (connect(fd.get(), address.get(), address.size) != 0) return Fd();
  return fd;
}

uint16_t LocalPort(const Fd& socket) {
  sockaddr_in at{};
  socklen_t size = sizeof at;
  getsockname(socket.get(), reinterpret_cast<sockaddr*>(&at), &size);
  return ntohs(at.sin_port);
}

uint16_t FreePort() { return LocalPort(Listen("127.0.0.1", 0)); }

bool WriteAll(int fd, const std::string& data) {
  for (size_t at = 0; at < data.size();) {
    const ssize_t sent = send(fd, data.data() + at, data.size() - at, MSG_NOSIGNAL);
    if (sent < 0 && errno != EINTR) return false;
    if (sent > 0) at += static_cast<size_t>(sent);
  }
  return true;
}

std::string ReadExactly(int fd, size_t size) {
  std::string data(size, '\0');
  size_t at = 0;
  while (at < size) {
    const ssize_t got = read(fd, data.data() + at, size - at);
    if (got <= 0) break;
    at += static_cast<size_t>(got);
  }
  data.resize(at);
  return data;
}

std::string ReadLine(int fd) {
  std::string line;
  char byte = 0;
  while (read(fd, &byte, 1) == 1 && byte != '\n') line.push_back(byte);
  return line;
}

std::string Echo(int fd, const std::string& line) {
  return WriteAll(fd, line + "\n") ? ReadLine(fd) : "";
}

int EndOf(int fd) {
  char byte = 0;
  const ssize_t got = read(fd, &byte, 1);
  return got > 0 ? -1 : got == 0 ? 0 : errno;
}

bool SocketPair(Fd* ours, Fd* theirs) {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) return false;
  *ours = Fd(fds[0]);
  *theirs = Fd(fds[1]);
  return true;
}

size_t OpenDescriptors() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

std::string Pattern(size_t size, uint32_t seed) {
  std::string text(size, '\0');
  for (char& byte : text) {
    seed = seed * 1664525u + 1013904223u;
    byte = static_cast<char>(seed >> 24);
  }
  return text;
}

EchoServer::EchoServer() : listener_(Listen("127.0.0.1", 0)), port_(LocalPort(listener_)) {
  acceptor_ = std::thread([this] {
    for (;;) {
      Fd client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!client.ok()) return;
      ++accepted_;
      threads_.emplace_back([client = std::move(client)] {
        char buffer[16384];
        ssize_t n = 0;
        while ((n = read(client.get(), buffer, sizeof buffer)) > 0) {
          if (!WriteAll(client.get(), std::string(buffer, static_cast<size_t>(n)))) return;
        }
      });
    }
  });
}

EchoServer::~EchoServer() {
  shutdown(listener_.get(), SHUT_RDWR);
  acceptor_.join();
  for (std::thread& thread : threads_) thread.join();
}

EchoGuest::EchoGuest() : listener_(Listen("127.0.0.1", 0)) {
  acceptor_ = std::thread([this] {
    for (;;) {
      Fd client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (client.ok()) {
        std::thread(Serve, std::move(client), true, 0).detach();
      } else if (errno == EINVAL) {
        return;  // shut down
      } else {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      }
    }
  });
}

EchoGuest::~EchoGuest() {
  shutdown(listener_.get(), SHUT_RDWR);
  acceptor_.join();
}

Dialer EchoGuest::dialer() {
  return [at = LocalPort(listener_)](uint16_t port, std::function<void(absl::StatusOr<int>)> done) {
    if (port == 1) return done(absl::FailedPreconditionError("port 1: Connection refused"));
    Fd fd = Connect("127.0.0.1", at);
    // Which port was dialed, which TCP would tell in a guest.
    if (!fd.ok() || !WriteAll(fd.get(), std::to_string(port) + "\n")) {
      return done(absl::UnavailableError("no guest"));
    }
    done(fd.Release());
  };
}

void DialEchoPair(uint16_t port, std::function<void(absl::StatusOr<int>)> done) {
  if (port == 1) return done(absl::FailedPreconditionError("port 1: Connection refused"));
  Fd ours;
  Fd theirs;
  if (!SocketPair(&ours, &theirs)) return done(absl::ResourceExhaustedError("no pair"));
  std::thread(Serve, std::move(ours), false, port).detach();
  done(theirs.Release());
}

}  // namespace rum
