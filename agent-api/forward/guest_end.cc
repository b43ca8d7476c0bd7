#include "agent-api/forward/guest_end.h"

#ifdef __x86_64__
#include <cpuid.h>
#endif
#include <poll.h>
#include <sched.h>
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
// With less than a few messages, saying so takes longer than it saves.
constexpr size_t kMuch = 512;
// The kernel's own thread for packets waits as well, and its queue takes 1,000.
constexpr int kMostUndisturbed = 64;
constexpr auto kLookout = std::chrono::microseconds(200);

bool IsEmulated() {
  bool emulated = false;
#ifdef __x86_64__
  constexpr unsigned kHypervisor = 0x40000000;
  unsigned highest = 0;
  unsigned signature[3] = {};
  __cpuid(kHypervisor, highest, signature[0], signature[1], signature[2]);
  emulated = std::memcmp(signature, "TCGTCGTCGTCG", sizeof signature) == 0;
#endif
  return emulated;
}

}  // namespace

// A splice whose socket is connected to one address after the other.
class GuestEnd::Connection : public Splice {
 public:
  Connection(GuestEnd* end, uint16_t port, bool probe, std::function<void(Splice*)> on_over)
      : Splice(
            Mux::Side::kGuest, -1,
            {[this, on_over = std::move(on_over)](const std::string&) { on_over(this); }, nullptr}),
        end_(end),
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

  void OnData(const char* data, size_t size) override {
    Splice::OnData(data, size);
    end_->Delivered();
  }
  // A server that was only asked whether it is there need not see a connection that broke.
  void OnClose(bool reset) override {
    if (probe_) return Drop("", false);
    Splice::OnClose(reset);
  }

 private:
  GuestEnd* const end_;
  LoopbackConnect connect_;
  const bool probe_;
};

GuestEnd::GuestEnd(int port, Clock::duration lookout)
    : ForwardEnd(Mux::Side::kGuest,
                 [this](int32_t id, uint16_t to, bool probe) { return Connect(id, to, probe); }),
      lookout_(lookout) {
  Attach(port);
}

ForwardEnd::Clock::duration GuestEnd::DefaultLookout() {
  static const bool emulated = IsEmulated();
  return emulated ? kLookout : Clock::duration::zero();
}

GuestEnd::~GuestEnd() { Detach(); }

void GuestEnd::Vanish() {
  OnSessionEnd();
  Forsake();
}

std::string GuestEnd::Serve() {
  bool more = false;
  while (!gone()) {
    if (!more && LooksOut()) {
      sched_yield();
      more = Run(0);
      continue;
    }
    int timeout = more ? 0 : -1;
    if (!more && deadline() != Clock::time_point::max()) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline() - Clock::now());
      timeout = static_cast<int>(std::max<int64_t>(left.count(), 0));
    }
    more = Run(timeout);
  }
  return std::strerror(gone_);
}

bool GuestEnd::LooksOut() {
  if (lookout_ == Clock::duration::zero()) return false;
  const Clock::time_point now = Clock::now();
  if (!idle()) awake_until_ = now + lookout_;
  return now < awake_until_;
}

// What is delivered wakes a server, and the kernel would let it run at once. On an emulated CPU the
// change to another process costs more than a message, so servers wait until we have delivered a
// number. Where that is not permitted only time is lost.
void GuestEnd::Undisturbed(bool begins) {
  sched_param priority{};
  priority.sched_priority = begins ? 1 : 0;
  sched_setscheduler(0, begins ? SCHED_FIFO : SCHED_OTHER, &priority);
  undisturbed_ = begins;
  delivered_ = 0;
}

void GuestEnd::OnChunk(size_t size) {
  if (size >= kMuch && !undisturbed_) Undisturbed(true);
  if (size == 0 && undisturbed_) Undisturbed(false);
}

void GuestEnd::Delivered() {
  if (!undisturbed_ || ++delivered_ < kMostUndisturbed) return;
  Undisturbed(false);
  Undisturbed(true);
}

Mux::Stream* GuestEnd::Connect(int32_t id, uint16_t port, bool probe) {
  auto made = std::make_unique<Connection>(this, port, probe, [this](Splice* over) { Over(over); });
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
