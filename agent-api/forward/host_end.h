#ifndef RUM_AGENT_API_FORWARD_HOST_END_H_
#define RUM_AGENT_API_FORWARD_HOST_END_H_

#include <map>
#include <string>

#include "agent-api/forward/forward_end.h"

namespace rum {

// What a carried connection tells its owner, on the thread of the end that carries it.
struct CarryEvents {
  // The guest's port took the connection. May be empty.
  std::function<void()> on_connected;
  // Is called once: the client's socket is closed now. "": both ends said all they had to say, else
  // why it was reset.
  std::function<void(const std::string& why)> on_over;
  int64_t* to_guest = nullptr;  // counts bytes; valid until on_over
  int64_t* to_client = nullptr;
};

// How long the host's end waits, so that tests need not.
struct HostEndTimes {
  // The guest takes up a session within it. QEMU may stay throttled after an abrupt end of an
  // earlier client; only a new connection to it clears that.
  std::chrono::milliseconds hello = std::chrono::seconds(2);
  // While connections are open: for any byte before the guest is asked for one, and then before it
  // counts as gone. An emulated guest on a busy host takes its time.
  std::chrono::milliseconds quiet = std::chrono::seconds(5);
  std::chrono::milliseconds silent = std::chrono::seconds(20);
  // A probe is answered within it.
  std::chrono::milliseconds probe = std::chrono::seconds(10);
};

// The host's end of the forward channel: carries clients' sockets to ports of the guest. A
// connection that the guest has not answered yet outlives the end of a session: it is asked for
// again in the next one, for as long as it is patient.
class HostEnd : public ForwardEnd {
 public:
  // `on_lost`: the channel is of no more use, Open() with another one is wanted.
  HostEnd(std::function<void()> on_lost, std::function<void()> on_session, HostEndTimes times = {});
  ~HostEnd() override;

  void Open(int channel);              // takes over a connected socket
  void Close(const std::string& why);  // resets all
  bool up() { return mux() != nullptr; }
  // Before Open() is of use again, after `on_lost`: the guest broke one session after the other.
  std::chrono::milliseconds pause() const { return link().pause(); }

  // Owns `client`, a non-blocking socket. The number is for Abort().
  uint64_t Carry(int client, uint16_t port, Clock::duration patience, CarryEvents events);
  void Abort(uint64_t connection, const std::string& why);
  // Connects to the port and closes again at once; 0: something listens there, else an errno:
  // ETIMEDOUT where the guest does not answer.
  void Probe(uint16_t port, std::function<void(int error)> done);

  Clock::time_point deadline() const override;

 private:
  class Connection;
  class Probing;

  void Begin(Connection* connection);
  void OnSession() override;
  void OnSessionEnd() override;
  void OnPortClosed(int error) override;
  void OnTime(Clock::time_point now) override;
  void Lose();
  void CheckLife(Clock::time_point now);

  const std::function<void()> on_lost_;
  const std::function<void()> on_session_;
  const HostEndTimes times_;
  Clock::time_point check_ = Clock::time_point::max();
  Clock::time_point hello_ = Clock::time_point::max();  // the answer is due
  std::map<uint64_t, Connection*> carried_;
  std::map<Probing*, std::unique_ptr<Probing>> probes_;
};

}  // namespace rum

#endif  // RUM_AGENT_API_FORWARD_HOST_END_H_
