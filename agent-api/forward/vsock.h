#ifndef RUM_AGENT_API_FORWARD_VSOCK_H_
#define RUM_AGENT_API_FORWARD_VSOCK_H_

#include <cstdint>

// Sockets between a host and its guests: vsock(7).
namespace rum {

// Where agents take forwarded connections ("rum").
constexpr uint32_t kForwardVsockPort = 0x72756d;

// A non-blocking socket that listens for everybody; -1 with errno.
int ListenVsock(uint32_t port);
// A non-blocking socket that is being connected; -1 with errno.
int ConnectVsock(uint32_t cid, uint32_t port);
// Whether a connection that was accepted is the host's, or this machine's own. True also where it
// is no vsock.
bool FromHostOrHere(int socket);

}  // namespace rum

#endif  // RUM_AGENT_API_FORWARD_VSOCK_H_
