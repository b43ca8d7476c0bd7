#ifndef RUM_TESTS_AGENT_API_CHANNEL_PEER_H_
#define RUM_TESTS_AGENT_API_CHANNEL_PEER_H_

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "agent-api/channel/frame.h"
#include "agent-api/channel/host_link.h"

namespace rum {

// Sockets that were handed over by a link, in their order. Thread-safe; closes what nobody took.
class Sessions {
 public:
  ~Sessions();
  void Put(int socket);
  // Waits for the next, blocking with a limit of 20 s; -1: none in 20 s, or none comes any more.
  int Take();
  void Finish();
  bool none() const;

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<int> sockets_;
  bool finished_ = false;
};

// One end of a channel in the hands of a test: a blocking socket whose reads fail after 20 s.
class Peer {
 public:
  explicit Peer(int socket);
  ~Peer() { Close(); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  void Close();
  void SendRaw(const std::string& bytes);
  void Send(FrameKind kind, const std::string& nonce) { SendRaw(EncodeControl(kind, nonce)); }
  void SendPayload(const std::string& payload);
  // The next control frame; its nonce is empty when there came none. Payload before it is dropped.
  std::pair<FrameKind, std::string> NextControl();
  std::string ReadPayload(size_t size);  // shorter when there is no more
  const std::string& payload() const { return payload_; }

 private:
  bool ReadMore();

  int socket_;
  std::string payload_;
  std::deque<std::pair<FrameKind, std::string>> controls_;
  FrameDecoder decoder_;
};

// Plain sockets of a session.
std::string ReadSome(int socket, size_t size);  // exactly, or what there was before the end
bool AtEnd(int socket);
void WriteAll(int socket, const std::string& data);

// A pair of connected sockets, non-blocking.
std::pair<int, int> NewPair();

// Serves the guest's end on a thread for as long as it lives.
class Guest {
 public:
  explicit Guest(int port);  // which stays the caller's
  ~Guest();
  int Take() { return sessions_.Take(); }
  bool none() const { return sessions_.none(); }
  std::string Wait();  // for the end of the link, without waking it
  void Stop();         // after which there are no more sessions

 private:
  Sessions sessions_;
  const int wake_;
  std::string error_;
  std::thread thread_;
};

// Serves the host's end of one connection on a thread.
class Host {
 public:
  // Closes `channel` at the end.
  explicit Host(int channel, Keepalive keepalive = {}, SessionPace pace = SessionPace());
  ~Host();
  int Take() { return sessions_.Take(); }
  bool Stop();  // true when there was a session
  bool Wait();  // the same without waking it
  int ends();

 private:
  Sessions sessions_;
  const int channel_;
  const int wake_;
  const Keepalive keepalive_;
  SessionPace pace_;
  std::mutex mutex_;
  int ends_ = 0;
  bool ever_ = false;
  std::thread thread_;
};

}  // namespace rum

#endif  // RUM_TESTS_AGENT_API_CHANNEL_PEER_H_
