#include "agent-api/channel/host_link.h"

#include <poll.h>

#include <chrono>
#include <string>

#include "agent-api/channel/pump.h"

namespace rum {
namespace {

using Clock = std::chrono::steady_clock;

// QEMU may stay throttled after an abrupt end of an earlier client; only a new connection clears
// that.
constexpr auto kAckTimeout = std::chrono::seconds(2);

}  // namespace

bool ServeHostLink(int channel, int wake, const std::function<void(int)>& on_session,
                   const std::function<void()>& on_end) {
  std::string nonce = NewNonce();
  Clock::time_point hello_sent = Clock::now();
  bool ever = false;
  Pump* link = nullptr;
  const auto say_hello = [&] {
    nonce = NewNonce();
    hello_sent = Clock::now();
    link->SendControl(FrameKind::kHello, nonce);
  };
  const auto end_session = [&] {
    if (!link->has_session()) return;
    on_end();  // first, so that nobody whose call fails is given the same session again
    link->SetSession(-1);
  };
  Pump pump(channel, [&](FrameKind kind, const std::string& with) {
    if (kind == FrameKind::kAck && with == nonce && !link->has_session()) {
      int ours = -1;
      int theirs = -1;
      if (!SocketPair(&ours, &theirs)) return;  // no ACK in time: the caller connects again later
      link->SetSession(ours);
      ever = true;
      on_session(theirs);
    } else if (kind == FrameKind::kReset) {
      end_session();
      say_hello();
    }
  });
  link = &pump;
  say_hello();
  for (;;) {
    pollfd stop{wake, POLLIN, 0};
    if (poll(&stop, 1, 0) == 1) break;
    int timeout = -1;
    if (!pump.has_session()) {
      const auto left = hello_sent + kAckTimeout - Clock::now();
      if (left <= Clock::duration::zero()) break;
      timeout =
          static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(left).count()) + 1;
    }
    const Pump::Event event = pump.Step(timeout, wake);
    if (event == Pump::Event::kChannelClosed) break;
    if (event == Pump::Event::kSessionClosed) {
      end_session();
      say_hello();
    }
  }
  if (pump.has_session()) {
    pump.SendControl(FrameKind::kBye, nonce);
    pump.Step(0, wake);
  }
  end_session();
  return ever;
}

}  // namespace rum
