#include "agent-api/channel/guest_link.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "agent-api/channel/pump.h"
#include "agent-api/channel/socket_io.h"

namespace rum {
namespace {

bool HungUp(int port) {
  pollfd fd{port, 0, 0};
  return poll(&fd, 1, 0) == 1 && (fd.revents & (POLLHUP | POLLERR)) != 0;
}

// Unplugged, or a socket whose peer is gone. Other errors pass.
bool IsGone(int error) { return error == ENODEV || error == EPIPE || error == ECONNRESET; }

}  // namespace

std::string ServeGuestLink(int port, int wake, const std::function<void(int)>& on_session) {
  std::string current;
  Pump* link = nullptr;
  Pump pump(port, [&](FrameKind kind, const std::string& nonce) {
    if (kind == FrameKind::kBye && nonce == current) {
      link->SetSession(-1);
      current.clear();
    }
    if (kind != FrameKind::kHello) return;
    if (nonce != current) {
      int ours = -1;
      int theirs = -1;
      // Out of descriptors, for a while: without an answer the host asks again.
      if (!SocketPair(&ours, &theirs)) return;
      link->SetSession(ours);
      current = nonce;
      link->SendControl(FrameKind::kAck, nonce);
      on_session(theirs);
    } else {
      link->SendControl(FrameKind::kAck, nonce);
    }
  });
  link = &pump;
  // A host that talks to an agent of before learns that it is gone.
  pump.SendControl(FrameKind::kReset, NewNonce());
  bool suspect = false;
  for (;;) {
    pollfd stop{wake, POLLIN, 0};
    if (poll(&stop, 1, 0) == 1) return "";
    const Pump::Event event = pump.Step(suspect ? 1000 : -1, wake);
    if (event == Pump::Event::kChannelClosed && IsGone(pump.channel_error())) {
      return std::string("the port is gone: ") + std::strerror(pump.channel_error());
    }
    if (event == Pump::Event::kSessionClosed) {
      pump.SetSession(-1);
      current.clear();
      pump.SendControl(FrameKind::kReset, NewNonce());
    }
    // End of file comes falsely too; only a hang-up that lasts ends a session.
    if (suspect && event == Pump::Event::kTimeout && pump.has_session() && HungUp(port)) {
      pump.SetSession(-1);
      current.clear();
    }
    suspect = event == Pump::Event::kChannelClosed ||
              (suspect && event == Pump::Event::kTimeout && pump.has_session());
  }
}

// It may fall into the middle of what the link is writing, from which the host's end recovers.
void EndSessionAtHost(int port) {
  const std::string reset = EncodeControl(FrameKind::kReset, NewNonce());
  (void)!write(port, reset.data(), reset.size());
}

}  // namespace rum
