#ifndef RUM_AGENT_API_FORWARD_FORWARD_END_H_
#define RUM_AGENT_API_FORWARD_FORWARD_END_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent-api/channel/port_watch.h"
#include "agent-api/forward/mux.h"
#include "agent-api/forward/session_link.h"
#include "agent-api/forward/splice.h"

namespace rum {

// What the two ends of the forward channel have in common: the port, the session on it, its mux
// and the sockets that are spliced to streams, all behind one epoll descriptor and driven by one
// thread. Nothing of it blocks. Memory: 256 KiB each way for the port, and the streams' (mux.h).
class ForwardEnd {
 public:
  using Clock = std::chrono::steady_clock;
  virtual ~ForwardEnd();
  ForwardEnd(const ForwardEnd&) = delete;
  ForwardEnd& operator=(const ForwardEnd&) = delete;

  int fd() const { return epoll_; }  // readable when Run has something to do
  // Does a bounded amount of what there is to do, after waiting for it up to `timeout_ms` (-1: for
  // ever). True: there is more, though fd() may not say so.
  bool Run(int timeout_ms);
  // Whether the last Run found nothing to do.
  bool idle() const { return idle_; }
  // When Run is to be called though fd() is not readable; max(): never.
  virtual Clock::time_point deadline() const = 0;
  size_t connections() const { return splices_.size(); }

 protected:
  ForwardEnd(Mux::Side side, Mux::OnOpen open);
  // Takes over a non-blocking descriptor and begins to ask for a session.
  void Attach(int port);
  void Detach();   // ends the session and closes the port
  void Forsake();  // closes the port
  int port() const { return port_; }
  SessionLink& link() { return link_; }
  const SessionLink& link() const { return link_; }
  Mux* mux() { return mux_.get(); }  // null: no session
  // Keeps a splice, and watches its socket, until it is Over, which its on_over calls. False: the
  // socket cannot be watched.
  Splice* Adopt(std::unique_ptr<Splice> splice);
  bool Watch(Splice* splice);
  void Over(Splice* splice);
  std::vector<Splice*> splices() const;
  // Sends what there is to send. `most`: as much of the streams' data; true: there is more.
  bool Flush(size_t most = SIZE_MAX);
  Clock::time_point last_heard() const { return last_heard_; }
  // What a peer of ours does not say: the session begins anew.
  void Restart();

  // So much came from the port, and goes to the sockets now; 0: all that did has.
  virtual void OnChunk(size_t /*size*/) {}
  virtual void OnSession() {}
  virtual void OnSessionEnd() = 0;
  virtual void OnPortClosed(int error) = 0;  // 0: end of file
  virtual void OnPortHangUp() {}
  virtual void OnSplice(Splice* splice, uint32_t events) { splice->OnSocket(events); }
  virtual void OnTime(Clock::time_point) {}

 private:
  void ReadPort();
  void WritePort();

  const Mux::Side side_;
  const Mux::OnOpen open_;
  const int epoll_;
  int port_ = -1;
  PortWatch watch_;
  SessionLink link_;
  std::unique_ptr<Mux> mux_;
  bool broken_ = false;
  bool idle_ = false;
  Clock::time_point last_heard_;
  std::map<Splice*, std::unique_ptr<Splice>> splices_;
  std::vector<std::unique_ptr<Splice>> over_;
};

}  // namespace rum

#endif  // RUM_AGENT_API_FORWARD_FORWARD_END_H_
