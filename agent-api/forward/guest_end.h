#ifndef RUM_AGENT_API_FORWARD_GUEST_END_H_
#define RUM_AGENT_API_FORWARD_GUEST_END_H_

#include <string>

#include "agent-api/forward/forward_end.h"

namespace rum {

// The guest's end of the forward channel: connects streams to ports of this machine's loopback.
class GuestEnd : public ForwardEnd {
 public:
  // Owns `port`, a non-blocking descriptor. Serve looks out for more for `lookout` before it
  // sleeps, while whoever else has something to do has the CPU.
  explicit GuestEnd(int port, Clock::duration lookout = DefaultLookout());
  ~GuestEnd() override;

  // Serves until the port is gone; says why.
  std::string Serve();
  Clock::time_point deadline() const override;
  bool gone() const { return gone_ != 0; }
  // Returns about as long as the host takes to answer on a CPU that QEMU emulates, for there it
  // takes as long again to fall asleep and to be woken; else 0.
  static Clock::duration DefaultLookout();
  // Resets, for tests, all connections and says nothing to the host, as the end of the process
  // does.
  void Vanish();

 private:
  class Connection;

  void OnChunk(size_t size) override;
  void Undisturbed(bool begins);
  void Delivered();
  Mux::Stream* Connect(int32_t id, uint16_t port, bool probe);
  void OnSessionEnd() override;
  void OnPortClosed(int error) override;
  void OnPortHangUp() override;
  void OnSplice(Splice* splice, uint32_t events) override;
  void OnTime(Clock::time_point now) override;

  bool LooksOut();

  const Clock::duration lookout_;
  Clock::time_point awake_until_;
  int gone_ = 0;  // an errno
  bool undisturbed_ = false;
  int delivered_ = 0;  // since then
  Clock::time_point suspect_ = Clock::time_point::max();
};

}  // namespace rum

#endif  // RUM_AGENT_API_FORWARD_GUEST_END_H_
