#include "tests/agent-api/channel/peer.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>

#include "agent-api/channel/guest_link.h"
#include "agent-api/channel/host_link.h"
#include "agent-api/channel/socket_io.h"

namespace rum {
namespace {

void MakeBlocking(int socket) {
  fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) & ~O_NONBLOCK);
  const timeval limit{20, 0};
  setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

void Wake(int fd) {
  const uint64_t one = 1;
  if (write(fd, &one, sizeof one) < 0) std::abort();
}

}  // namespace

Sessions::~Sessions() {
  for (const int socket : sockets_) close(socket);
}

void Sessions::Put(int socket) {
  const std::lock_guard<std::mutex> guard(mutex_);
  sockets_.push_back(socket);
  changed_.notify_all();
}

int Sessions::Take() {
  std::unique_lock<std::mutex> guard(mutex_);
  if (!changed_.wait_for(guard, std::chrono::seconds(20),
                         [this] { return finished_ || !sockets_.empty(); }) ||
      sockets_.empty()) {
    return -1;
  }
  const int socket = sockets_.front();
  sockets_.pop_front();
  MakeBlocking(socket);
  return socket;
}

void Sessions::Finish() {
  const std::lock_guard<std::mutex> guard(mutex_);
  finished_ = true;
  changed_.notify_all();
}

bool Sessions::none() const {
  const std::lock_guard<std::mutex> guard(mutex_);
  return sockets_.empty();
}

Peer::Peer(int socket)
    : socket_(socket),
      decoder_([this](const char* data, size_t size) { payload_.append(data, size); },
               [this](FrameKind kind, const std::string& nonce) {
                 controls_.emplace_back(kind, nonce);
                 payload_.clear();
               }) {
  MakeBlocking(socket_);
}

void Peer::Close() {
  if (socket_ >= 0) close(socket_);
  socket_ = -1;
}

void Peer::SendRaw(const std::string& bytes) { WriteAll(socket_, bytes); }

void Peer::SendPayload(const std::string& payload) {
  std::string stream;
  EncodePayload(payload.data(), payload.size(), &stream);
  SendRaw(stream);
}

bool Peer::ReadMore() {
  char buffer[4096];
  const ssize_t n = read(socket_, buffer, sizeof buffer);
  if (n > 0) decoder_.Feed(buffer, static_cast<size_t>(n));
  return n > 0;
}

std::pair<FrameKind, std::string> Peer::NextControl() {
  while (controls_.empty()) {
    if (!ReadMore()) return {FrameKind::kNop, ""};
  }
  const auto control = controls_.front();
  controls_.pop_front();
  return control;
}

std::string Peer::ReadPayload(size_t size) {
  while (payload_.size() < size && ReadMore()) {
  }
  const std::string read = payload_.substr(0, size);
  payload_.erase(0, size);
  return read;
}

std::string ReadSome(int socket, size_t size) {
  std::string data(size, '\0');
  size_t at = 0;
  while (at < size) {
    const ssize_t n = read(socket, data.data() + at, size - at);
    if (n <= 0) break;
    at += static_cast<size_t>(n);
  }
  data.resize(at);
  return data;
}

bool AtEnd(int socket) {
  char byte = 0;
  const ssize_t n = read(socket, &byte, 1);
  return n == 0 || (n < 0 && errno == ECONNRESET);  // the latter when we had said what is unread
}

void WriteAll(int socket, const std::string& data) {
  for (size_t at = 0; at < data.size();) {
    const ssize_t n = send(socket, data.data() + at, data.size() - at, MSG_NOSIGNAL);
    if (n <= 0) return;
    at += static_cast<size_t>(n);
  }
}

std::pair<int, int> NewPair() {
  std::pair<int, int> fds(-1, -1);
  SocketPair(&fds.first, &fds.second);
  return fds;
}

Guest::Guest(int port)
    : wake_(eventfd(0, EFD_CLOEXEC)), thread_([this, port] {
        error_ = ServeGuestLink(port, wake_, [this](int socket) { sessions_.Put(socket); });
      }) {}

Guest::~Guest() {
  Stop();
  close(wake_);
}

void Guest::Stop() {
  Wake(wake_);
  Wait();
  sessions_.Finish();
}

std::string Guest::Wait() {
  if (thread_.joinable()) thread_.join();
  return error_;
}

Host::Host(int channel, Keepalive keepalive, SessionPace pace)
    : channel_(channel),
      wake_(eventfd(0, EFD_CLOEXEC)),
      keepalive_(std::move(keepalive)),
      pace_(std::move(pace)),
      thread_([this] {
        ever_ = ServeHostLink(
            channel_, wake_, [this](int socket) { sessions_.Put(socket); },
            [this] {
              const std::lock_guard<std::mutex> guard(mutex_);
              ++ends_;
            },
            keepalive_, &pace_);
        close(channel_);
      }) {}

Host::~Host() {
  Stop();
  close(wake_);
}

bool Host::Stop() {
  Wake(wake_);
  return Wait();
}

bool Host::Wait() {
  if (thread_.joinable()) thread_.join();
  return ever_;
}

int Host::ends() {
  const std::lock_guard<std::mutex> guard(mutex_);
  return ends_;
}

}  // namespace rum
