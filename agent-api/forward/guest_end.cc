#include "agent-api/forward/guest_end.h"

#include <poll.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "agent-api/forward/loopback.h"

namespace rum {
namespace {

// An end of file and a hang-up come falsely too; only a hang-up that lasts ends a session.
constexpr auto kHangUp = std::chrono::seconds(1);

}  // namespace

// A splice whose socket is connected to one address after the other.
class GuestEnd::Connection : public Splice {
 public:
  Connection(uint16_t port, bool probe, std::function<void(Splice*)> on_over)
      : Splice(
            Mux::Side::kGuest, -1,
            {[this, on_over = std::move(on_over)](const std::string&) { on_over(this); }, nullptr}),
        connect_(port),
        probe_(probe) {}

  // Begins with the next address; false: there is none left.
  bool Next() {
    const int fd = connect_.Next();
    if (fd >= 0) SetSocket(fd);
    return fd >= 0;
  }
  void Failed(int error) { connect_.Failed(error); }
  int error() const { return connect_.error(); }

  // A server that was only asked whether it is there need not see a connection that broke.
  void OnClose(bool reset) override {
    if (probe_) return Drop("", false);
    Splice::OnClose(reset);
  }

 private:
  LoopbackConnect connect_;
  const bool probe_;
};

GuestEnd::GuestEnd(int port)
    : ForwardEnd(Mux::Side::kGuest,
                 [this](int32_t id, uint16_t to, bool probe) { return Connect(id, to, probe); }) {
  Attach(port);
}

GuestEnd::~GuestEnd() { Detach(); }

void GuestEnd::Vanish() {
  OnSessionEnd();
  Forsake();
}

std::string GuestEnd::Serve() {
  bool more = false;
  while (!gone()) {
    int timeout = more ? 0 : -1;
    if (!more && deadline() != Clock::time_point::max()) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline() - Clock::now());
      timeout = static_cast<int>(std::max<int64_t>(left.count(), 0));
    }
    more = Run(timeout);
  }
  return std::strerror(gone_);
}

Mux::Stream* GuestEnd::Connect(int32_t id, uint16_t port, bool probe) {
  auto made = std::make_unique<Connection>(port, probe, [this](Splice* over) { Over(over); });
  auto* connection = static_cast<Connection*>(Adopt(std::move(made)));
  connection->Join(mux(), id);
  while (connection->Next()) {
    if (Watch(connection)) return connection;
    connection->Failed(errno);
  }
  mux()->Answer(id, connection->error());
  return connection;
}

void GuestEnd::OnSplice(Splice* splice, uint32_t events) {
  auto* connection = static_cast<Connection*>(splice);
  if (connection->connected()) return splice->OnSocket(events);
  if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0) return;
  const int error = LoopbackConnect::Outcome(connection->socket());
  if (error == 0 && (events & EPOLLOUT) != 0) {
    mux()->Answer(connection->id(), 0);
    connection->Connected();
    connection->OnSocket(events & ~static_cast<uint32_t>(EPOLLOUT));
    return;
  }
  connection->Failed(error != 0 ? error : ECONNREFUSED);
  while (connection->Next()) {
    if (Watch(connection)) return;
    connection->Failed(errno);
  }
  // The host resets the stream when it has this.
  mux()->Answer(connection->id(), connection->error());
}

void GuestEnd::OnSessionEnd() {
  for (Splice* splice : splices()) splice->Drop("the session ended");
}

void GuestEnd::OnPortClosed(int error) {
  // Unplugged, or a socket whose peer is gone. Other errors pass.
  if (error == ENODEV || error == EPIPE || error == ECONNRESET) gone_ = error;
  OnPortHangUp();
}

void GuestEnd::OnPortHangUp() {
  if (suspect_ == Clock::time_point::max()) suspect_ = Clock::now() + kHangUp;
}

ForwardEnd::Clock::time_point GuestEnd::deadline() const { return suspect_; }

void GuestEnd::OnTime(Clock::time_point) {
  suspect_ = Clock::time_point::max();
  pollfd ask{port(), 0, 0};
  if (poll(&ask, 1, 0) == 1 && (ask.revents & (POLLHUP | POLLERR)) != 0 && link().up()) {
    link().End();
  }
}

}  // namespace rum
