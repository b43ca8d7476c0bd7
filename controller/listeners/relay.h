#ifndef RUM_CONTROLLER_LISTENERS_RELAY_H_
#define RUM_CONTROLLER_LISTENERS_RELAY_H_

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "controller/base/fd.h"
#include "controller/listeners/carrier.h"
#include "controller/listeners/listener_set_options.h"

namespace rum {

// Counters of one forward; shared by its connections.
struct ForwardCounters {
  int64_t open_connections = 0;
  int64_t bytes_in = 0;
  int64_t bytes_out = 0;
  std::string last_error;
  ForwardHealth health = ForwardHealth::kUnknown;
  std::chrono::steady_clock::time_point health_at;

  void SetHealth(ForwardHealth now) {
    health = now;
    health_at = std::chrono::steady_clock::now();
  }
};

// One client's connection to the guest: gives it to the carrier or, where there is none, dials,
// then carries bytes, half-closes and resets both ways. It holds at most 64 KiB each way, and
// nothing while both ends keep up. io thread only.
class Relay : public std::enable_shared_from_this<Relay> {
 public:
  // `route` must outlive the connection, not the relay: it is not used after the end. `on_end` is
  // called once, when both ends are closed; `on_reached` (may be empty), when the guest's port is.
  Relay(Fd client, uint16_t guest_port, const GuestRoute& route, const ListenerSetOptions& options,
        std::shared_ptr<ForwardCounters> counters, std::function<void(Relay*)> on_end,
        std::function<void()> on_reached = nullptr);

  void Start();
  void Reset(const std::string& why);  // both ends, at once

 private:
  using Descriptor = boost::asio::posix::stream_descriptor;
  using Clock = std::chrono::steady_clock;

  struct Way {
    const char* name;  // of its source, for errors
    Descriptor& from;
    Descriptor& to;
    int64_t& bytes;
    std::string unsent;  // read, but not taken by `to`
    bool ended = false;  // the end was read and passed on
  };

  bool Carry();
  void Reached();
  void Dial();
  void Dialed(const absl::Status& status, Fd guest);
  void WatchForReset(Descriptor& end, const char* name);
  void Pump(Way& way);
  bool Fill(Way& way);
  bool Send(Way& way, const char* data, size_t size);
  void PassEnd(Way& way);
  void WaitThenPump(Way& way, Descriptor& end, Descriptor::wait_type wait);
  void End();

  Fd accepted_client_;  // until it is known which way it goes
  Descriptor client_;
  Descriptor guest_;
  boost::asio::steady_timer redial_;
  boost::asio::steady_timer answer_;
  const uint16_t guest_port_;
  const GuestRoute& route_;
  const ListenerSetOptions options_;
  const Clock::time_point accepted_ = Clock::now();
  const std::shared_ptr<ForwardCounters> counters_;
  const std::function<void(Relay*)> on_end_;
  const std::function<void()> on_reached_;
  Way to_guest_;
  Way to_client_;
  std::shared_ptr<Carrier> carrier_;  // with it, carried_
  uint64_t carried_ = 0;
  bool reached_ = false;  // the guest's port
  bool dialing_ = false;
  bool ended_ = false;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_LISTENERS_RELAY_H_
