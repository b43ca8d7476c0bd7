#ifndef RUM_AGENT_API_CHANNEL_PUMP_H_
#define RUM_AGENT_API_CHANNEL_PUMP_H_

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "agent-api/channel/frame.h"
#include "agent-api/channel/port_watch.h"

namespace rum {

// Moves bytes between a channel (framed) and the socket of the present session (plain), with
// bounded buffers: 256 KiB each way, after which the side that is too fast is not read. One thread
// drives it by Step().
class Pump {
 public:
  // Does not own `channel`, a non-blocking descriptor. `on_control` is called from Step().
  Pump(int channel, FrameDecoder::OnControl on_control);
  ~Pump();
  Pump(const Pump&) = delete;
  Pump& operator=(const Pump&) = delete;

  // Ends the present session, if any, and begins one on `socket`, which it then owns (-1: none).
  // What was still to be sent or delivered of the old one is dropped.
  void SetSession(int socket);
  // Asked about what comes for a session; false: it is dropped and the session is over.
  void SetGate(std::function<bool(const char*, size_t)> gate) { gate_ = std::move(gate); }
  bool has_session() const { return session_ >= 0; }
  void SendControl(FrameKind kind, const std::string& nonce);

  // How many bytes came from the channel, of whatever kind.
  uint64_t received() const { return received_; }
  // errno of the channel's last failure, 0: it never failed (an end of file is none).
  int channel_error() const { return channel_error_; }

  enum class Event { kWorked, kTimeout, kChannelClosed, kSessionClosed };
  // Waits at most `timeout_ms` (-1: for ever) for something to do, or until `wake` is readable, and
  // does it. kChannelClosed: end of file or hang-up of the channel; kSessionClosed: our own side
  // closed its socket, or the gate refused what came for it.
  Event Step(int timeout_ms, int wake);

 private:
  bool ReadChannel();
  bool WriteChannel();
  bool ReadSession();
  void WriteSession();

  int session_ = -1;
  bool refused_ = false;
  std::function<bool(const char*, size_t)> gate_;
  int epoll_;
  PortWatch watch_;
  int channel_error_ = 0;
  uint64_t received_ = 0;
  std::string to_channel_;
  std::string to_session_;
  FrameDecoder decoder_;
};

}  // namespace rum

#endif  // RUM_AGENT_API_CHANNEL_PUMP_H_
