#include "agent-api/channel/host_link.h"

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>

#include "agent-api/channel/http2_gate.h"
#include "agent-api/channel/pump.h"
#include "agent-api/channel/socket_io.h"

namespace rum {
namespace {

using Clock = std::chrono::steady_clock;

// QEMU may stay throttled after an abrupt end of an earlier client; only a new connection clears
// that.
constexpr auto kAckTimeout = std::chrono::seconds(2);

// For poll(2); -1: never.
int MillisecondsUntil(Clock::time_point due) {
  if (due == Clock::time_point::max()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(due - Clock::now());
  return static_cast<int>(std::max<int64_t>(left.count(), 0));
}

// How long the guest has said nothing while somebody waits for it.
class Silence {
 public:
  explicit Silence(const Keepalive& keepalive) : keepalive_(keepalive) {}

  // When the guest is to be asked or, once asked, given up. `received`: bytes so far.
  Clock::time_point Due(uint64_t received) {
    const bool waiting = keepalive_.waiting && keepalive_.waiting();
    if (received != received_ || !waiting) {
      received_ = received;
      since_ = Clock::now();
      asked_ = false;
    }
    if (!waiting) return Clock::time_point::max();
    return since_ + (asked_ ? keepalive_.answer : keepalive_.silence);
  }
  bool asked() const { return asked_; }
  void Ask() {
    asked_ = true;
    since_ = Clock::now();
  }

 private:
  const Keepalive& keepalive_;
  uint64_t received_ = 0;
  Clock::time_point since_ = Clock::now();
  bool asked_ = false;
};

}  // namespace

bool ServeHostLink(int channel, int wake, const std::function<void(int)>& on_session,
                   const std::function<void()>& on_end, const Keepalive& keepalive,
                   SessionPace* pace, Payload payload) {
  std::string nonce = NewNonce();
  Clock::time_point hello_sent = Clock::now();
  bool ever = false;
  bool over = false;
  Pump* link = nullptr;
  // What was still to be sent belonged to the session before: a guest that asks and does not read
  // makes nothing grow.
  const auto say_hello = [&] {
    nonce = NewNonce();
    hello_sent = Clock::now();
    link->SetSession(-1);
    link->SendControl(FrameKind::kHello, nonce);
  };
  const auto end_session = [&] {
    if (!link->has_session()) return;
    on_end();  // first, so that nobody whose call fails is given the same session again
    link->SetSession(-1);
  };
  const auto begin_another = [&] {
    end_session();
    pace->Ended();
    over = over || pace->Wait().count() > 0;
    if (!over) say_hello();
  };
  Pump pump(channel, [&](FrameKind kind, const std::string& with) {
    if (over) return;
    if (!pace->TakeControl()) {
      pace->Ended();
      over = true;
    } else if (kind == FrameKind::kAck && with == nonce && !link->has_session()) {
      int ours = -1;
      int theirs = -1;
      if (!SocketPair(&ours, &theirs)) return;  // no ACK in time: the caller connects again later
      link->SetSession(ours);
      if (payload == Payload::kHttp2) {
        link->SetGate([gate = Http2Gate()](const char* data, size_t size) mutable {
          return gate.Feed(data, size);
        });
      }
      ever = true;
      pace->Began();
      on_session(theirs);
    } else if (kind == FrameKind::kReset) {
      begin_another();
    }
  });
  link = &pump;
  say_hello();
  Silence silence(keepalive);
  while (!over) {
    pollfd stop{wake, POLLIN, 0};
    if (poll(&stop, 1, 0) == 1) break;
    const Clock::time_point due =
        pump.has_session() ? silence.Due(pump.received()) : hello_sent + kAckTimeout;
    if (Clock::now() >= due) {
      if (!pump.has_session() || silence.asked()) break;
      silence.Ask();
      // It has this session, and so answers with another ACK.
      pump.SendControl(FrameKind::kHello, nonce);
      continue;
    }
    const Pump::Event event = pump.Step(MillisecondsUntil(due), wake);
    if (event == Pump::Event::kChannelClosed) break;
    if (event == Pump::Event::kSessionClosed) begin_another();
  }
  if (pump.has_session()) {
    pump.SendControl(FrameKind::kBye, nonce);
    pump.Step(0, wake);
  }
  end_session();
  return ever;
}

}  // namespace rum
