#ifndef RUM_CONTROLLER_GUESTS_SERVED_FORWARDS_H_
#define RUM_CONTROLLER_GUESTS_SERVED_FORWARDS_H_

#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "agent-api/client/guest_agent.h"
#include "controller/guests/channel_desk.h"
#include "controller/guests/outlet.h"
#include "controller/listeners/forward_path.h"
#include "controller/listeners/listener_set.h"
#include "controller/listeners/relay.h"
#include "controller/listeners/stream_carrier.h"

namespace rum {

// Carries, in a guest's process, clients' sockets to ports of the guest, by whichever way there is:
// a socket each, the forward channel, the agent's gRPC. One thread calls it.
class ServedForwards {
 public:
  ServedForwards(GuestAgent* agent, ChannelDesk* desk, Outlet* outlet);
  ~ServedForwards();
  ServedForwards(const ServedForwards&) = delete;
  ServedForwards& operator=(const ServedForwards&) = delete;

  void Become(const guests::ToProcess::Forwards& forwards);
  void Carry(const guests::ToProcess::Carry& carry, Fd client);
  void Abort(const guests::ToProcess::Abort& abort);
  void Probe(const guests::ToProcess::Probe& probe);
  void TakeStream(const guests::ToProcess::Stream& stream, Fd fd);

 private:
  struct One {
    std::shared_ptr<ForwardCounters> counters;
    std::shared_ptr<Relay> relay;
    int64_t told_in = 0;
    int64_t told_out = 0;
  };
  using OnConnecting = std::function<void(int socket, int error)>;

  void Close();
  void Relayed(uint64_t number, uint16_t port, std::chrono::milliseconds patience, Fd client);
  void DialOn(uint64_t number, uint16_t port, Fd socket);
  void Over(uint64_t number, const std::string& why, int code, const ForwardCounters& counters);
  void CountLater();
  bool TellCounts();
  void Probed(uint64_t number, int error, bool closed);
  void ConnectStream(OnConnecting done);

  GuestAgent& agent_;
  ChannelDesk& desk_;
  Outlet& outlet_;
  const GuestRoute route_;
  uint64_t generation_ = 0;
  std::unique_ptr<ForwardPath> path_;
  std::shared_ptr<StreamCarrier> streams_;
  // Belongs to the io thread.
  std::shared_ptr<Carrier> carrier_;
  std::map<uint64_t, One> ones_;
  boost::asio::steady_timer count_;
  bool counting_ = false;
  std::chrono::milliseconds pause_;
  uint64_t last_stream_ = 0;
  std::map<uint64_t, OnConnecting> connecting_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_GUESTS_SERVED_FORWARDS_H_
