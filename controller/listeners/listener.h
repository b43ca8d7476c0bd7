#ifndef RUM_CONTROLLER_LISTENERS_LISTENER_H_
#define RUM_CONTROLLER_LISTENERS_LISTENER_H_

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "controller/base/fd.h"
#include "controller/listeners/listener_set_options.h"
#include "controller/listeners/port_owner.h"
#include "controller/listeners/relay.h"

namespace rum {

// Why `forward` cannot be bound: `error` is an errno, `owner` who holds its port, as far as known.
absl::Status BindError(const Forward& forward, int error, const std::string& owner);

// The machine whose forward, of this process, keeps `bind`:`port` from being bound; "": none does.
std::string MachineAt(const std::string& bind, uint16_t port);

// One listening socket and its connections. io thread only; Close before the last pointer goes.
class Listener : public std::enable_shared_from_this<Listener> {
 public:
  // `route` and `connections`, which counts those of all listeners of the machine, must outlive the
  // listener's Close.
  Listener(const Forward& forward, const GuestRoute& route, const ListenerSetOptions& options,
           size_t* connections);

  int Open();  // 0 or an errno; also opens a draining one again
  void Retarget(uint16_t guest) { guest_ = guest; }
  void Drain();       // stops accepting; connections may go on for the drain time
  void Close();       // and every connection, at once
  Fd GiveUp();        // stops accepting and leaves the socket open; connections go on
  bool Lost() const;  // of a unix socket: its file is not there any more
  bool idle() const { return relays_.empty(); }
  ListeningSocket where() const;
  const std::string& bind() const { return bind_; }
  const std::string& machine() const { return route_.machine; }

  // Asks whether the guest's port is reached, unless that is known; `done` is called once, at once
  // or later, on any thread.
  void Probe(const std::function<void()>& done);

  const absl::Status& accepting() const { return accepting_; }
  const ForwardCounters& counters() const { return *counters_; }

 private:
  void WaitForClient();
  void AcceptAll();
  void AcceptLater(int error);
  bool HasRoom() const;
  void Refuse(Fd client, const std::string& why);
  void SetAccepting(const absl::Status& status);
  void Admit(Fd client);
  void StopAccepting();
  void ResetConnections(const std::string& why);

  const std::string bind_;
  const uint16_t host_;
  uint16_t guest_;
  const GuestRoute& route_;
  const ListenerSetOptions options_;
  size_t& connections_;
  boost::asio::posix::stream_descriptor socket_;
  boost::asio::steady_timer pause_;
  boost::asio::steady_timer drain_;
  absl::Status accepting_;
  const std::shared_ptr<ForwardCounters> counters_ = std::make_shared<ForwardCounters>();
  std::map<Relay*, std::shared_ptr<Relay>> relays_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_LISTENERS_LISTENER_H_
