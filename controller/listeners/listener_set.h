#ifndef RUM_CONTROLLER_LISTENERS_LISTENER_SET_H_
#define RUM_CONTROLLER_LISTENERS_LISTENER_SET_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace rum {

struct Forward {
  // IPv4 or IPv6 literal; `::` takes both: see ListenerSet. Or "unix:PATH", with host 0.
  std::string bind = "127.0.0.1";
  uint16_t host = 0;
  uint16_t guest = 0;
  friend bool operator==(const Forward&, const Forward&) = default;
};

// Whether a connect reaches what listens at the guest's port.
enum class ForwardHealth { kUnknown, kUp, kDown };

struct ForwardState {
  Forward forward;
  // Ok: accepting. Else why not, with the owner of the port where the kernel tells.
  absl::Status bound;
  int64_t open_connections = 0;
  int64_t bytes_in = 0;  // towards the guest
  int64_t bytes_out = 0;
  std::string last_error;
  ForwardHealth health = ForwardHealth::kUnknown;
};

// Reaches a port in the guest; see GuestAgent::Dial. It is called on the io thread and must not
// block there; `done` may come on any thread, also after the set is gone. A socket whose peer
// closes both ways before it was told the end is a connection that broke: the client is reset.
using Dialer = std::function<void(uint16_t port, std::function<void(absl::StatusOr<int>)> done)>;

// How connections reach the guest: first by the carrier that is there at the time (null: none), and
// where that is closed, by dialing.
class Carrier;
struct GuestRoute {
  Dialer dial;
  std::function<std::shared_ptr<Carrier>()> carrier;
  // A listener cannot accept, or can again, so that Observe() tells another thing now. May be
  // empty; called on the io thread, must not block there.
  std::function<void()> on_change;
  // Whose it is, for others that want a port of it.
  std::string machine = {};
};

// The host ports of one machine. Thread-safe; sockets live on the one io thread of the process.
//
// A unix socket is a file of mode 0600 that goes with its forward. What else has its path is never
// removed (socket_file.h).
//
// `::` is all addresses of both families: its IPv4 clients are accepted by a socket of their own on
// 0.0.0.0, unless a forward of 0.0.0.0 with that port stands beside it, whose they are then. So
// either can come and go while the other one's connections stay.
class ListenerSet {
 public:
  virtual ~ListenerSet() = default;  // closes everything at once
  // Makes the set of listeners `wanted`: new before old; unchanged ones keep sockets and
  // connections; a changed guest port is in place; removed ones stop accepting and drain for 30 s.
  // One that fails does not stop the others, and takes its port by itself as soon as that is free.
  // Returns the state of every wanted forward after it.
  virtual std::vector<ForwardState> Apply(const std::vector<Forward>& wanted) = 0;
  virtual std::vector<ForwardState> Observe() = 0;
  // Finds out how the forwards are that no client has used lately, by a connect that is closed
  // again at once; waits for the guest up to `limit`.
  virtual void Probe(std::chrono::milliseconds limit) { (void)limit; }
};

std::unique_ptr<ListenerSet> MakeListenerSet(GuestRoute route);
std::unique_ptr<ListenerSet> MakeListenerSet(Dialer dial);

}  // namespace rum

#endif  // RUM_CONTROLLER_LISTENERS_LISTENER_SET_H_
