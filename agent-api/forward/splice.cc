#include "agent-api/forward/splice.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace rum {

Splice::Splice(Mux::Side side, int socket, Events events)
    : socket_(socket),
      name_(side == Mux::Side::kHost ? "client" : "server"),
      events_(std::move(events)),
      connected_(side == Mux::Side::kHost),
      answered_(side == Mux::Side::kGuest) {}

Splice::~Splice() {
  if (socket_ >= 0) close(socket_);
}

void Splice::Join(Mux* mux, int32_t id) {
  mux_ = mux;
  id_ = id;
}

void Splice::Leave() {
  mux_ = nullptr;
  early_sent_ = 0;
}

void Splice::SetSocket(int socket) {
  if (socket_ >= 0) close(socket_);
  socket_ = socket;
}

void Splice::Connected() {
  connected_ = true;
  Flush();
}

std::string Splice::SocketError(int error) const {
  return std::string(name_) + ": " + std::strerror(error);
}

void Splice::OnSocket(uint32_t events) {
  if (over_) return;
  if ((events & EPOLLERR) != 0) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(socket_, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return Break(SocketError(error));
  }
  if ((events & (EPOLLRDHUP | EPOLLHUP)) != 0) hung_up_ = true;
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) != 0 && !readable_) {
    readable_ = true;
    if (mux_ != nullptr && !closed_) mux_->Resume(id_);
  }
  if ((events & EPOLLOUT) != 0) Flush();
}

int64_t Splice::Take(char* buffer, size_t size) {
  if (!answered_) return TakeEarly(buffer, size);
  return ReadSocket(buffer, size);
}

int64_t Splice::TakeEarly(char* buffer, size_t size) {
  if (early_sent_ < early_.size()) {
    size = std::min(size, early_.size() - early_sent_);
    std::memcpy(buffer, early_.data() + early_sent_, size);
    early_sent_ += size;
    return static_cast<int64_t>(size);
  }
  if (early_.size() >= kEarly) return kNothingNow;  // the answer resumes
  const int64_t got = ReadSocket(buffer, std::min(size, kEarly - early_.size()));
  if (got > 0) {
    early_.append(buffer, static_cast<size_t>(got));
    early_sent_ = early_.size();
  }
  return got;
}

int64_t Splice::ReadSocket(char* buffer, size_t size) {
  if (read_end_) return kEnd;
  if (!readable_) return kNothingNow;
  ssize_t got = 0;
  do {
    got = recv(socket_, buffer, size, MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && errno == EAGAIN) {
    readable_ = false;
    return kNothingNow;
  }
  if (got < 0) {
    Break(SocketError(errno));
    return kBroken;
  }
  if (got == 0) {
    read_end_ = true;
    return kEnd;
  }
  // Less than there was room for: nothing is left, and more will be told of.
  if (static_cast<size_t>(got) < size && !hung_up_) readable_ = false;
  if (events_.sent != nullptr) *events_.sent += got;
  return got;
}

void Splice::OnAnswer(int error) {
  if (over_) return;
  if (error == 0) {
    answered_ = true;
    early_ = {};
    if (mux_ != nullptr) mux_->Resume(id_);
  }
  if (events_.on_answer) events_.on_answer(error);
}

bool Splice::Write(const char* data, size_t size, size_t* written) {
  *written = 0;
  while (*written < size) {
    const ssize_t n = send(socket_, data + *written, size - *written, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0) {
      *written += static_cast<size_t>(n);
    } else if (errno == EAGAIN) {
      break;
    } else if (errno != EINTR) {
      Break(SocketError(errno));
      return false;
    }
  }
  if (events_.received != nullptr) *events_.received += static_cast<int64_t>(*written);
  return true;
}

void Splice::OnData(const char* data, size_t size) {
  if (over_) return;
  size_t written = 0;
  if (connected_ && unsent_.empty()) {
    if (!Write(data, size, &written)) return;
    if (written > 0) mux_->Consumed(id_, written);
  }
  if (written == size) return;
  unsent_.erase(0, std::exchange(unsent_at_, 0));
  unsent_.reserve(Mux::kFirstWindow);  // exactly: appending alone would double it beyond need
  unsent_.append(data + written, size - written);
}

void Splice::Flush() {
  if (over_ || !connected_) return;
  if (!unsent_.empty()) {
    size_t written = 0;
    if (!Write(unsent_.data() + unsent_at_, unsent_.size() - unsent_at_, &written)) return;
    unsent_at_ += written;
    if (unsent_at_ == unsent_.size()) unsent_ = {}, unsent_at_ = 0;
    if (!closed_ && written > 0) mux_->Consumed(id_, written);
  }
  if (!unsent_.empty()) return;
  if (peer_end_ && !wrote_end_) {
    wrote_end_ = true;
    if (shutdown(socket_, SHUT_WR) != 0) return Break(SocketError(errno));
  }
  if (closed_) Close(false, "");
}

void Splice::OnEnd() {
  peer_end_ = true;
  Flush();
}

void Splice::OnClose(bool reset) {
  closed_ = true;
  if (over_) return;
  if (reset) return Close(true, "guest: the connection was reset");
  Flush();
}

void Splice::Break(const std::string& why) {
  if (over_) return;
  if (mux_ != nullptr && !closed_) {
    closed_ = true;
    mux_->Reset(id_);
  }
  Close(true, why);
}

void Splice::Drop(const std::string& why, bool reset) {
  closed_ = true;
  Close(reset, why);
}

void Splice::Close(bool reset, const std::string& why) {
  if (over_) return;
  over_ = true;
  if (socket_ >= 0) {
    // Whoever gave it may have meant it to be reset whatever ends.
    const linger how{reset ? 1 : 0, 0};
    setsockopt(socket_, SOL_SOCKET, SO_LINGER, &how, sizeof how);
    close(std::exchange(socket_, -1));
  }
  unsent_ = {};
  // What it holds goes with the call: its owner may hold, by way of others, this splice.
  if (const auto on_over = std::exchange(events_.on_over, nullptr)) on_over(why);
}

}  // namespace rum
