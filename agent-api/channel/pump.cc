#include "agent-api/channel/pump.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace rum {
namespace {

constexpr size_t kMostBuffered = 256 * 1024;
constexpr size_t kChunk = 64 * 1024;

bool Again() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

}  // namespace

Pump::Pump(int channel, FrameDecoder::OnControl on_control)
    : epoll_(epoll_create1(EPOLL_CLOEXEC)),
      decoder_(
          [this](const char* data, size_t size) {
            if (session_ < 0 || refused_) return;
            refused_ = gate_ && !gate_(data, size);
            if (!refused_) to_session_.append(data, size);
          },
          std::move(on_control)) {
  watch_.Begin(epoll_, channel);
}

Pump::~Pump() {
  SetSession(-1);
  close(epoll_);
}

void Pump::SetSession(int socket) {
  if (session_ >= 0) close(session_);
  session_ = socket;
  refused_ = false;
  to_channel_.clear();
  to_session_.clear();
}

void Pump::SendControl(FrameKind kind, const std::string& nonce) {
  to_channel_ += EncodeControl(kind, nonce);
}

Pump::Event Pump::Step(int timeout_ms, int wake) {
  pollfd fds[3] = {{epoll_, POLLIN, 0}, {session_, 0, 0}, {wake, POLLIN, 0}};
  if (to_channel_.size() < kMostBuffered) fds[1].events |= POLLIN;
  if (!to_session_.empty()) fds[1].events |= POLLOUT;
  const bool work_left = (watch_.readable() && to_session_.size() < kMostBuffered) ||
                         (watch_.writable() && !to_channel_.empty());
  const int ready = poll(fds, 3, work_left ? 0 : timeout_ms);
  if (ready < 0) return Event::kWorked;  // a signal
  if ((fds[0].revents & POLLIN) != 0) {
    epoll_event event{};
    if (epoll_wait(epoll_, &event, 1, 0) == 1) watch_.OnEvent();
  }
  bool open = true;
  if (watch_.readable() && to_session_.size() < kMostBuffered) open = ReadChannel();
  if (session_ >= 0 && !to_session_.empty()) WriteSession();
  bool session_open = true;
  if (session_ >= 0 && fds[1].fd == session_ &&
      (fds[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
    session_open = ReadSession();
  }
  if (watch_.writable() && !to_channel_.empty()) open = WriteChannel() && open;
  if (!open) return Event::kChannelClosed;
  if (!session_open || refused_) return Event::kSessionClosed;
  return ready == 0 && !work_left ? Event::kTimeout : Event::kWorked;
}

bool Pump::ReadChannel() {
  char buffer[kChunk];
  const ssize_t n = watch_.Read(buffer, sizeof buffer);
  if (n > 0) {
    received_ += static_cast<uint64_t>(n);
    decoder_.Feed(buffer, static_cast<size_t>(n));
    return true;
  }
  if (n < 0 && !Again()) channel_error_ = errno;
  return n < 0 && Again();
}

bool Pump::WriteChannel() {
  const ssize_t n = watch_.Write(to_channel_.data(), std::min(to_channel_.size(), kChunk));
  if (n > 0) to_channel_.erase(0, static_cast<size_t>(n));
  if (n < 0 && !Again()) channel_error_ = errno;
  return n >= 0 || Again();
}

bool Pump::ReadSession() {
  char buffer[kChunk];
  const ssize_t n = read(session_, buffer, sizeof buffer);
  if (n > 0) EncodePayload(buffer, static_cast<size_t>(n), &to_channel_);
  return n > 0 || (n < 0 && Again());
}

void Pump::WriteSession() {
  const ssize_t n =
      send(session_, to_session_.data(), std::min(to_session_.size(), kChunk), MSG_NOSIGNAL);
  if (n > 0) to_session_.erase(0, static_cast<size_t>(n));
  if (n < 0 && !Again()) to_session_.clear();  // reading it will tell that it is closed
}

}  // namespace rum
