#ifndef RUM_AGENT_API_FORWARD_SPLICE_H_
#define RUM_AGENT_API_FORWARD_SPLICE_H_

#include <cstdint>
#include <functional>
#include <string>

#include "agent-api/forward/mux.h"

namespace rum {

// A TCP socket and a stream of a Mux as one connection: bytes, half-closes and resets go both ways
// as on one TCP connection. It reads the socket straight into frames, only when the stream's window
// and the transport have room, and keeps what the socket does not take: at most the stream's
// window. Driven by the socket's readiness, edge-triggered. Not thread-safe.
class Splice : public Mux::Stream {
 public:
  struct Events {
    // Is called once, when both ends are done with ("") or one of them broke (why). The socket is
    // closed then, and the splice may go when the call has returned to whoever called into the
    // splice.
    std::function<void(const std::string& why)> on_over;
    std::function<void(int error)> on_answer;
    int64_t* sent = nullptr;  // bytes towards the peer, and from it; may be null
    int64_t* received = nullptr;
  };
  // Owns `socket`, non-blocking: a client's (kHost), or one that is being connected to a server
  // (kGuest), which is not written to before Connected().
  Splice(Mux::Side side, int socket, Events events);
  ~Splice() override;
  Splice(const Splice&) = delete;
  Splice& operator=(const Splice&) = delete;

  // The stream, before anything of it arrives; a second time after Leave().
  void Join(Mux* mux, int32_t id);
  // The session of an unanswered stream is gone: nothing of what was sent counts.
  void Leave();
  bool joined() const { return mux_ != nullptr; }
  void SetSocket(int socket);  // in place of the one before, which could not be connected
  void Connected();
  int socket() const { return socket_; }
  int32_t id() const { return id_; }
  bool connected() const { return connected_; }
  bool answered() const { return answered_; }

  void OnSocket(uint32_t epoll_events);
  // Resets both ends.
  void Break(const std::string& why);
  // Closes the socket alone, by a reset or not: the mux is gone, or has forgotten the stream.
  void Drop(const std::string& why, bool reset = true);

  void OnAnswer(int error) override;
  int64_t Take(char* buffer, size_t size) override;
  void OnData(const char* data, size_t size) override;
  void OnEnd() override;
  void OnClose(bool reset) override;

  // Data that is sent before the answer is kept, in case that the session ends and it has to be
  // sent again.
  static constexpr size_t kEarly = 4096;

 private:
  void Close(bool reset, const std::string& why);
  int64_t TakeEarly(char* buffer, size_t size);
  int64_t ReadSocket(char* buffer, size_t size);
  bool Write(const char* data, size_t size, size_t* written);
  void Flush();
  std::string SocketError(int error) const;

  int socket_;
  const char* const name_;  // of the socket's other end, for errors
  Events events_;
  Mux* mux_ = nullptr;
  int32_t id_ = 0;
  std::string early_;
  size_t early_sent_ = 0;
  std::string unsent_;  // from the peer, not taken by the socket
  size_t unsent_at_ = 0;
  bool connected_;
  bool answered_;
  bool readable_ = true;
  bool hung_up_ = false;  // the socket's peer has said all: reads go on to the end
  bool read_end_ = false;
  bool peer_end_ = false;   // no more data will come from the stream
  bool wrote_end_ = false;  // and the socket was told
  bool closed_ = false;     // the mux has forgotten the stream
  bool over_ = false;
};

}  // namespace rum

#endif  // RUM_AGENT_API_FORWARD_SPLICE_H_
