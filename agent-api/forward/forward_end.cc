#include "agent-api/forward/forward_end.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

namespace rum {
namespace {

// Less makes the port wait for us; more makes every other stream wait behind one that is busy.
constexpr size_t kMostOut = 256 * 1024;
constexpr size_t kChunk = 64 * 1024;
// After so many chunks the sockets have their turn.
constexpr int kTurn = 8;
// Or after so long: a chunk of small frames makes more work than one of data, and whoever else has
// something to do on this thread waits.
constexpr auto kLongestTurn = std::chrono::milliseconds(2);
constexpr size_t kMostInTurn = 1024 * 1024;
constexpr int kEvents = 128;

// One for each thread, for they are used within a call only: an end that is idle costs none.
std::array<char, kChunk>& Scratch() {
  thread_local std::unique_ptr<std::array<char, kChunk>> scratch(new std::array<char, kChunk>);
  return *scratch;
}

bool Again(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

}  // namespace

ForwardEnd::ForwardEnd(Mux::Side side, Mux::OnOpen open)
    : side_(side),
      open_(std::move(open)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      link_(side == Mux::Side::kHost ? SessionLink::Role::kHost : SessionLink::Role::kGuest,
            {[this] {
               mux_ = std::make_unique<Mux>(side_, open_);
               OnSession();
             },
             [this] {
               mux_.reset();
               OnSessionEnd();
             },
             [this](const char* data, size_t size) {
               if (mux_ != nullptr && !mux_->Feed(data, size)) Restart();
             }}) {}

ForwardEnd::~ForwardEnd() {
  if (port_ >= 0) close(port_);
  close(epoll_);
}

void ForwardEnd::Attach(int port) {
  Detach();
  port_ = port;
  watch_.Begin(epoll_, port_);
  last_heard_ = Clock::now();
  link_.Start();
}

void ForwardEnd::Detach() {
  if (port_ < 0) return;
  link_.End();
  // The goodbye, if it can go at once. Whoever does not get it finds out by itself.
  if (link_.pending() > 0 && write(port_, link_.out(), link_.pending()) < 0) errno = 0;
  link_.Sent(link_.pending());
  close(std::exchange(port_, -1));
}

void ForwardEnd::Forsake() { close(std::exchange(port_, -1)); }

Splice* ForwardEnd::Adopt(std::unique_ptr<Splice> splice) {
  Splice* key = splice.get();
  splices_[key] = std::move(splice);
  return key;
}

bool ForwardEnd::Watch(Splice* splice) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = splice;
  return epoll_ctl(epoll_, EPOLL_CTL_ADD, splice->socket(), &event) == 0;
}

// It may be on the stack, and in the events that are being handled.
void ForwardEnd::Over(Splice* splice) {
  const auto found = splices_.find(splice);
  if (found == splices_.end()) return;
  over_.push_back(std::move(found->second));
  splices_.erase(found);
}

std::vector<Splice*> ForwardEnd::splices() const {
  std::vector<Splice*> all;
  for (const auto& [key, splice] : splices_) all.push_back(key);
  return all;
}

void ForwardEnd::Restart() { broken_ = true; }

bool ForwardEnd::Run(int timeout_ms) {
  epoll_event events[kEvents];
  const bool busy = watch_.readable();
  const int ready = epoll_wait(epoll_, events, kEvents, busy ? 0 : timeout_ms);
  idle_ = ready <= 0 && !busy;
  for (int i = 0; i < ready; ++i) {
    auto* splice = static_cast<Splice*>(events[i].data.ptr);
    if (splice == nullptr) {
      watch_.OnEvent();
      if ((events[i].events & (EPOLLHUP | EPOLLERR)) != 0) OnPortHangUp();
    } else if (splices_.count(splice) != 0) {
      OnSplice(splice, events[i].events);
    }
  }
  if (port_ >= 0 && watch_.readable()) ReadPort();
  if (broken_) {
    broken_ = false;
    link_.End();
    if (side_ == Mux::Side::kHost) link_.Again();
  }
  if (link_.refused() && port_ >= 0) OnPortClosed(0);
  const Clock::time_point now = Clock::now();
  if (now >= deadline()) OnTime(now);
  const bool more = Flush(kMostInTurn);
  over_.clear();
  return port_ >= 0 && (watch_.readable() || more || broken_ || ready == kEvents);
}

void ForwardEnd::ReadPort() {
  std::array<char, kChunk>& buffer = Scratch();
  const Clock::time_point end = Clock::now() + kLongestTurn;
  for (int turn = 0; turn < kTurn && watch_.readable() && port_ >= 0; ++turn) {
    if (broken_ || link_.refused() || (turn > 0 && Clock::now() > end)) break;
    // A virtio port gives 4 KiB at a time at most: gathered, they make less work further on.
    size_t size = 0;
    int error = -1;
    while (size < buffer.size() && error < 0) {
      const ssize_t n = watch_.Read(buffer.data() + size, buffer.size() - size);
      if (n > 0) size += static_cast<size_t>(n);
      if (n <= 0) error = n == 0 ? 0 : errno;
    }
    if (size > 0) {
      last_heard_ = Clock::now();
      OnChunk(size);
      link_.Feed(buffer.data(), size);
    }
    if (error >= 0 && !Again(error)) {
      OnChunk(0);
      return OnPortClosed(error);
    }
  }
  OnChunk(0);
}

bool ForwardEnd::Flush(size_t most) {
  size_t sent = 0;
  while (port_ >= 0 && watch_.writable()) {
    if (mux_ != nullptr && link_.pending() < kMostOut &&
        !mux_->Produce([this, &sent](const char* data, size_t size) {
          link_.Send(data, size);
          sent += size;
          return link_.pending() < kMostOut;
        })) {
      Restart();
    }
    if (link_.pending() == 0) return false;
    WritePort();
    if (sent >= most) return watch_.writable();
  }
  return false;
}

void ForwardEnd::WritePort() {
  while (port_ >= 0 && watch_.writable() && link_.pending() > 0) {
    const ssize_t n = watch_.Write(link_.out(), link_.pending());
    if (n > 0) link_.Sent(static_cast<size_t>(n));
    if (n < 0 && !Again(errno)) return OnPortClosed(errno);
  }
}

}  // namespace rum
