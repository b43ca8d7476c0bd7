#include "controller/listeners/relay.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "controller/listeners/io_thread.h"

namespace rum {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr auto kRedial = std::chrono::milliseconds(50);
constexpr size_t kChunk = 64 * 1024;
// After so many chunks, a busy direction lets others have the thread.
constexpr int kTurn = 16;

// One for all relays, for they share a thread: an idle connection costs no buffer.
std::array<char, kChunk>& Scratch() {
  static auto* const scratch = new std::array<char, kChunk>;
  return *scratch;
}

short PollNow(int fd) {
  pollfd ask{fd, 0, 0};
  return poll(&ask, 1, 0) == 1 ? ask.revents : 0;
}

void SetOption(int fd, int level, int name, int value) {
  setsockopt(fd, level, name, &value, sizeof value);
}

// Whether closing it is a reset.
void SetReset(int fd, bool reset) {
  const linger how{reset ? 1 : 0, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &how, sizeof how);
}

}  // namespace

Relay::Relay(Fd client, uint16_t guest_port, const GuestRoute& route,
             const ListenerSetOptions& options, std::shared_ptr<ForwardCounters> counters,
             std::function<void(Relay*)> on_end, std::function<void()> on_reached)
    : accepted_client_(std::move(client)),
      client_(IoContext()),
      guest_(IoContext()),
      redial_(IoContext()),
      answer_(IoContext()),
      guest_port_(guest_port),
      route_(route),
      options_(options),
      counters_(std::move(counters)),
      on_end_(std::move(on_end)),
      on_reached_(std::move(on_reached)),
      to_guest_{"client", client_, guest_, counters_->bytes_in, {}},
      to_client_{"guest", guest_, client_, counters_->bytes_out, {}} {
  ++counters_->open_connections;
  SetOption(accepted_client_.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  // A client on another host may vanish without a word.
  SetOption(accepted_client_.get(), SOL_SOCKET, SO_KEEPALIVE, 1);
}

void Relay::Start() {
  answer_.expires_after(options_.answer);
  answer_.async_wait([weak = weak_from_this()](error_code cancelled) {
    const auto self = weak.lock();
    if (self && !cancelled && !self->reached_) {
      self->Reset(absl::StrCat("guest port ", self->guest_port_, ": no answer"));
    }
  });
  Dial();
}

bool Relay::Carry() {
  if (route_.carrier) carrier_ = route_.carrier();
  if (carrier_ == nullptr) return false;
  CarryEvents events;
  events.to_guest = &counters_->bytes_in;
  events.to_client = &counters_->bytes_out;
  events.on_connected = [this] { Reached(); };
  // It holds this, for it counts into what this owns.
  events.on_over = [this, self = shared_from_this()](const std::string& why) {
    if (ended_) return;
    if (!why.empty()) counters_->last_error = why;
    if (!reached_) counters_->SetHealth(ForwardHealth::kDown);
    End();
  };
  carried_ = carrier_->Carry(&accepted_client_, guest_port_, options_.patience, std::move(events));
  return carried_ != 0;
}

void Relay::Reached() {
  reached_ = true;
  counters_->SetHealth(ForwardHealth::kUp);
  error_code ignored;
  answer_.cancel(ignored);
  if (on_reached_) on_reached_();
}

void Relay::Dial() {
  if (Carry()) return;
  dialing_ = true;
  // The answer may come on any thread, late or never: it holds only a weak pointer, looked at on
  // the io thread alone, and the socket closes itself when nobody takes it.
  route_.dial(guest_port_, [weak = weak_from_this()](absl::StatusOr<int> socket) {
    Fd guest(socket.ok() ? *socket : -1);
    asio::post(IoContext(), [weak, status = socket.status(), guest = std::move(guest)]() mutable {
      if (const auto self = weak.lock()) self->Dialed(status, std::move(guest));
    });
  });
}

void Relay::Dialed(const absl::Status& status, Fd guest) {
  if (ended_ || !dialing_) return;
  dialing_ = false;
  if (!status.ok()) {
    if (!absl::IsUnavailable(status) || Clock::now() >= accepted_ + options_.patience) {
      counters_->SetHealth(ForwardHealth::kDown);
      return Reset(std::string(status.message()));
    }
    redial_.expires_after(kRedial);
    redial_.async_wait([weak = weak_from_this()](error_code cancelled) {
      const auto self = weak.lock();
      if (self && !cancelled && !self->ended_) self->Dial();
    });
    return;
  }
  error_code error;
  client_.assign(accepted_client_.get(), error);
  if (error) return Reset(absl::StrCat("client: ", error.message()));
  accepted_client_.Release();
  guest_.assign(guest.get(), error);
  if (error) return Reset(absl::StrCat("guest: ", error.message()));
  SetOption(guest.Release(), IPPROTO_TCP, TCP_NODELAY, 1);  // where it is TCP
  Reached();
  WatchForReset(client_, "client");
  WatchForReset(guest_, "guest");
  Pump(to_guest_);
  Pump(to_client_);
}

// A reset must be seen also while its direction is held up by the other end.
void Relay::WatchForReset(Descriptor& end, const char* name) {
  if (ended_) return;
  end.async_wait(Descriptor::wait_error, [this, self = shared_from_this(), &end, name](error_code) {
    if (ended_) return;
    const short state = PollNow(end.native_handle());
    // The agent's way to say so (see PassEnd), after the end of what the guest had to say.
    if (&end == &guest_ && (state & POLLHUP) != 0 && to_client_.ended && !to_guest_.ended) {
      return Reset("guest: the connection broke");
    }
    if ((state & POLLERR) == 0) return;
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(end.native_handle(), SOL_SOCKET, SO_ERROR, &error, &size);
    Reset(absl::StrCat(name, ": ", std::strerror(error)));
  });
}

void Relay::Pump(Way& way) {
  for (int turn = 0; turn < kTurn; ++turn) {
    if (ended_ || !Fill(way)) return;
  }
  asio::post(IoContext(), [this, self = shared_from_this(), &way] { Pump(way); });
}

// Moves one chunk; false when the direction waits, ended or was reset.
bool Relay::Fill(Way& way) {
  if (!way.unsent.empty()) {
    const std::string data = std::exchange(way.unsent, {});
    return Send(way, data.data(), data.size());
  }
  const ssize_t got = recv(way.from.native_handle(), Scratch().data(), kChunk, MSG_DONTWAIT);
  if (got == 0) {
    PassEnd(way);
    return false;
  }
  if (got < 0) {
    if (errno == EINTR) return true;
    if (errno == EAGAIN) {
      WaitThenPump(way, way.from, Descriptor::wait_read);
    } else {
      Reset(absl::StrCat(way.name, ": ", std::strerror(errno)));
    }
    return false;
  }
  way.bytes += got;
  if (!Send(way, Scratch().data(), static_cast<size_t>(got))) return false;
  if (static_cast<size_t>(got) == kChunk) return true;
  // There was less than asked for, so nothing is left: one system call saved on small messages.
  WaitThenPump(way, way.from, Descriptor::wait_read);
  return false;
}

bool Relay::Send(Way& way, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t sent = send(way.to.native_handle(), data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) {
      data += sent;
      size -= static_cast<size_t>(sent);
    } else if (errno == EAGAIN) {
      way.unsent.assign(data, size);
      WaitThenPump(way, way.to, Descriptor::wait_write);
      return false;
    } else if (errno != EINTR) {
      Reset(absl::StrCat("from the ", way.name, ": ", std::strerror(errno)));
      return false;
    }
  }
  return true;
}

void Relay::PassEnd(Way& way) {
  // A stream socket of the agent's cannot say "reset". Its way to say so is to close both ways
  // before it was told the end; a peer that only has no more to say closes one.
  if (&way == &to_client_ && !to_guest_.ended && (PollNow(guest_.native_handle()) & POLLHUP) != 0) {
    return Reset("guest: the connection broke");
  }
  way.ended = true;
  if (shutdown(way.to.native_handle(), SHUT_WR) != 0) {
    return Reset(absl::StrCat("from the ", way.name, ": ", std::strerror(errno)));
  }
  if (!to_guest_.ended || !to_client_.ended) return;
  SetReset(client_.native_handle(), false);  // it may have been to be reset, whatever ends
  End();
}

void Relay::WaitThenPump(Way& way, Descriptor& end, Descriptor::wait_type wait) {
  end.async_wait(wait, [this, self = shared_from_this(), &way](error_code error) {
    if (ended_) return;
    if (error) return Reset(absl::StrCat(way.name, ": ", error.message()));
    Pump(way);
  });
}

void Relay::Reset(const std::string& why) {
  if (ended_) return;
  if (carried_ != 0) return carrier_->Abort(carried_, why);  // and it calls on_over
  counters_->last_error = why;
  if (accepted_client_.ok()) SetReset(accepted_client_.get(), true);
  if (client_.is_open()) SetReset(client_.native_handle(), true);
  if (client_.is_open() && guest_.is_open()) SetReset(guest_.native_handle(), true);
  End();
}

void Relay::End() {
  ended_ = true;
  error_code ignored;
  accepted_client_ = Fd();
  client_.close(ignored);
  guest_.close(ignored);
  redial_.cancel(ignored);
  answer_.cancel(ignored);
  --counters_->open_connections;
  on_end_(this);
}

}  // namespace rum
