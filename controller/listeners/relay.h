#ifndef RUM_CONTROLLER_LISTENERS_RELAY_H_
#define RUM_CONTROLLER_LISTENERS_RELAY_H_

#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "controller/listeners/listener_set.h"

namespace rum {

// Counters of one forward; shared by its connections, also after the forward is gone.
struct ForwardCounters {
  int64_t open_connections = 0;
  int64_t bytes_in = 0;
  int64_t bytes_out = 0;
  std::string last_error;
};

// One client's connection to the guest. Memory: 64 KiB each way. Lives as long as its handlers; io
// thread only.
class Relay : public std::enable_shared_from_this<Relay> {
 public:
  // An agent that is away is waited for, for `patience`; then, or when the guest refuses, the
  // client is reset.
  static std::shared_ptr<Relay> Start(boost::asio::ip::tcp::socket client, uint16_t guest_port,
                                      const Dialer& dial, std::shared_ptr<ForwardCounters> counters,
                                      std::chrono::milliseconds patience,
                                      std::function<void(Relay*)> on_end);
  Relay(boost::asio::ip::tcp::socket client, uint16_t guest_port, Dialer dial,
        std::shared_ptr<ForwardCounters> counters, std::chrono::milliseconds patience,
        std::function<void(Relay*)> on_end);

  void Reset(const std::string& why);  // both ends, at once

 private:
  using Buffer = std::array<char, 64 * 1024>;
  using Clock = std::chrono::steady_clock;

  void Dial();
  void Dialed(absl::StatusOr<int> socket);
  template <typename From, typename To>
  void Copy(From& from, To& to, Buffer& buffer, int64_t& bytes);
  void DirectionEnded();
  void End();

  boost::asio::ip::tcp::socket client_;
  boost::asio::local::stream_protocol::socket guest_;
  boost::asio::steady_timer retry_;
  const uint16_t guest_port_;
  const Dialer dial_;
  const std::shared_ptr<ForwardCounters> counters_;
  const Clock::time_point give_up_;
  const std::function<void(Relay*)> on_end_;
  Buffer to_guest_;
  Buffer to_client_;
  int directions_ = 2;
  bool ended_ = false;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_LISTENERS_RELAY_H_
