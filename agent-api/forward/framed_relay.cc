#include "agent-api/forward/framed_relay.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>
#include <utility>

#include "agent-api/forward/loopback.h"

namespace rum {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr size_t kHeader = 2;
constexpr size_t kMostData = 0xffff;
// After so many chunks a busy direction lets others have the thread.
constexpr int kMostFrames = 16;

// One for each thread, for it is used within a call only.
std::array<char, kHeader + kMostData>& FrameBuffer() {
  thread_local std::unique_ptr<std::array<char, kHeader + kMostData>> scratch(
      new std::array<char, kHeader + kMostData>);
  return *scratch;
}

bool Full(int error) { return error == EAGAIN || error == EWOULDBLOCK; }

}  // namespace

FramedRelay::FramedRelay(asio::io_context& io, int tcp, int stream, Events events, bool quiet_reset)
    : tcp_(io), stream_(io), events_(std::move(events)), quiet_reset_(quiet_reset) {
  error_code error;
  if (tcp_.assign(tcp, error)) close(tcp);
  if (stream_.assign(stream, error)) close(stream);
}

FramedRelay::~FramedRelay() = default;

void FramedRelay::Start() {
  if (!tcp_.is_open() || !stream_.is_open()) return Over("sockets cannot be watched", true);
  WatchForReset(tcp_, "TCP");
  WatchForReset(stream_, "vsock");
  PumpOut();
  PumpIn();
}

void FramedRelay::Break(const std::string& why) { Over(why, true); }

void FramedRelay::PumpOut() {
  for (int turn = 0; turn < kMostFrames; ++turn) {
    if (over_ || !MoveOut()) return;
  }
  asio::post(tcp_.get_executor(), [self = shared_from_this()] { self->PumpOut(); });
}

// One chunk; false when the direction waits or is over.
bool FramedRelay::MoveOut() {
  if (!out_.empty()) {
    const int64_t written = Write(stream_, out_.data(), out_.size());
    if (written < 0) return false;
    out_.erase(0, static_cast<size_t>(written));
    if (!out_.empty()) {
      Wait(stream_, Descriptor::wait_write, &FramedRelay::PumpOut);
      return false;
    }
    if (out_.capacity() > 0) std::string().swap(out_);
    MaybeOver();
    return !over_ && !out_ended_;
  }
  if (out_ended_) return false;
  std::array<char, kHeader + kMostData>& frame = FrameBuffer();
  const ssize_t got = recv(tcp_.native_handle(), frame.data() + kHeader, kMostData, MSG_DONTWAIT);
  if (got < 0) {
    if (errno == EINTR) return true;
    if (Full(errno)) {
      Wait(tcp_, Descriptor::wait_read, &FramedRelay::PumpOut);
    } else {
      Fail("TCP", errno);
    }
    return false;
  }
  const auto size = static_cast<size_t>(got);
  out_ended_ = size == 0;
  if (events_.sent != nullptr) *events_.sent += got;
  frame[0] = static_cast<char>(size >> 8);
  frame[1] = static_cast<char>(size & 0xff);
  const int64_t written = Write(stream_, frame.data(), kHeader + size);
  if (written < 0) return false;
  out_.assign(frame.data() + written, kHeader + size - static_cast<size_t>(written));
  if (!out_.empty()) return true;  // to the wait
  MaybeOver();
  return !over_ && !out_ended_;
}

void FramedRelay::PumpIn() {
  for (int turn = 0; turn < kMostFrames; ++turn) {
    if (over_ || !MoveIn()) return;
  }
  asio::post(stream_.get_executor(), [self = shared_from_this()] { self->PumpIn(); });
}

bool FramedRelay::MoveIn() {
  if (!in_.empty()) {
    const std::string rest = std::exchange(in_, {});
    return Parse(rest.data(), rest.size());
  }
  std::array<char, kHeader + kMostData>& chunk = FrameBuffer();
  const ssize_t got = recv(stream_.native_handle(), chunk.data(), chunk.size(), MSG_DONTWAIT);
  if (got > 0) return Parse(chunk.data(), static_cast<size_t>(got));
  if (got == 0) {
    // Both ends were said, and this is no other one; or it broke, after its own end perhaps.
    if (!in_ended_ || !out_ended_) Over("the other side broke the connection", !quiet_reset_);
    return false;
  }
  if (errno == EINTR) return true;
  if (Full(errno)) {
    Wait(stream_, Descriptor::wait_read, &FramedRelay::PumpIn);
  } else {
    Fail("vsock", errno);
  }
  return false;
}

// Hands payloads to the TCP connection; keeps what that does not take, unparsed.
bool FramedRelay::Parse(const char* data, size_t size) {
  while (size > 0 && !over_) {
    if (in_ended_) {
      Over("the other side went on after its end", true);
      return false;
    }
    if (length_bytes_ < 2) {
      length_ = length_ << 8 | static_cast<uint8_t>(*data++);
      --size;
      if (++length_bytes_ < 2 || length_ > 0) continue;
      in_ended_ = true;
      if (shutdown(tcp_.native_handle(), SHUT_WR) != 0) {
        Fail("TCP", errno);
        return false;
      }
      MaybeOver();
      continue;
    }
    const int64_t written = Write(tcp_, data, std::min(length_, size));
    if (written < 0) return false;
    if (events_.received != nullptr) *events_.received += written;
    data += written;
    size -= static_cast<size_t>(written);
    length_ -= static_cast<size_t>(written);
    if (length_ == 0) length_bytes_ = 0;
    if (written == 0) {
      in_.assign(data, size);
      Wait(tcp_, Descriptor::wait_write, &FramedRelay::PumpIn);
      return false;
    }
  }
  return !over_;
}

// How much went out; 0: nothing now. Negative: it is over.
int64_t FramedRelay::Write(Descriptor& to, const char* data, size_t size) {
  while (true) {
    const ssize_t sent = send(to.native_handle(), data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) return sent;
    if (Full(errno)) return 0;
    if (errno == EINTR) continue;
    Fail(&to == &tcp_ ? "TCP" : "vsock", errno);
    return -1;
  }
}

void FramedRelay::Wait(Descriptor& on, Descriptor::wait_type wait, void (FramedRelay::*then)()) {
  on.async_wait(wait, [self = shared_from_this(), then](error_code error) {
    if (!error && !self->over_) (self.get()->*then)();
  });
}

// To be seen also while its direction is held up by the other one.
void FramedRelay::WatchForReset(Descriptor& end, const char* name) {
  end.async_wait(Descriptor::wait_error,
                 [self = shared_from_this(), &end, name](error_code cancelled) {
                   if (cancelled || self->over_) return;
                   const int error = LoopbackConnect::Outcome(end.native_handle());
                   // Only a hang-up: what was said before it is read first.
                   if (error != 0) self->Fail(name, error);
                 });
}

void FramedRelay::Fail(const char* name, int error) {
  Over(std::string(name) + ": " + std::strerror(error), true);
}

void FramedRelay::MaybeOver() {
  if (in_ended_ && out_ended_ && out_.empty()) Over("", false);
}

void FramedRelay::Over(const std::string& why, bool reset) {
  if (over_) return;
  over_ = true;
  // Whoever gave it may have meant it to be reset whatever ends.
  const linger how{reset ? 1 : 0, 0};
  setsockopt(tcp_.native_handle(), SOL_SOCKET, SO_LINGER, &how, sizeof how);
  error_code ignored;
  tcp_.close(ignored);
  stream_.close(ignored);
  if (events_.on_over) events_.on_over(why);
}

}  // namespace rum
