#ifndef RUM_CONTROLLER_HYPERVISOR_AGENT_CHANNEL_H_
#define RUM_CONTROLLER_HYPERVISOR_AGENT_CHANNEL_H_

#include <string>

#include "absl/status/statusor.h"
#include "controller/hypervisor/libvirt_handles.h"

namespace rum {

// A stream socket connected to a unix socket of this host; the caller owns it.
absl::StatusOr<int> ConnectUnixSocket(const std::string& path);

// Gives a libvirt stream (made with VIR_STREAM_NONBLOCK, and open) the form of a stream socket,
// which the caller owns: libvirt's event loop carries bytes to and fro until either end closes.
absl::StatusOr<int> SocketOfStream(StreamHandle stream);

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_AGENT_CHANNEL_H_
