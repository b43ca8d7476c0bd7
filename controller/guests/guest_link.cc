#include "controller/guests/guest_link.h"

#include <memory>
#include <utility>

#include "agent-api/forward/vsock.h"
#include "controller/guests/guest_process.h"

namespace rum {

GuestLink LinkGuest(const std::string& machine, ChannelOpener open, std::function<void()> on_change,
                    const std::string& agent_binary) {
  auto process =
      std::make_unique<GuestProcess>(machine, std::move(open), std::move(on_change), agent_binary);
  GuestProcess* const raw = process.get();
  return {std::move(process), [raw](ChannelOpener open_forward, uint32_t vsock_cid) {
            std::function<int()> connect;
            if (vsock_cid != 0) {
              connect = [vsock_cid] { return ConnectVsock(vsock_cid, kForwardVsockPort); };
            }
            const auto carrier = raw->Forwards(std::move(open_forward), std::move(connect));
            return ForwardWay{
                carrier, std::shared_ptr<void>(nullptr, [carrier](void*) { carrier->Close(); })};
          }};
}

}  // namespace rum
