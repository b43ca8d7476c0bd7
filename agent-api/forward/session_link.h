#ifndef RUM_AGENT_API_FORWARD_SESSION_LINK_H_
#define RUM_AGENT_API_FORWARD_SESSION_LINK_H_

#include <chrono>
#include <functional>
#include <string>

#include "agent-api/channel/frame.h"
#include "agent-api/channel/session_pace.h"

namespace rum {

// One end of the channel's resynchronising protocol (agent-api/channel/frame.h) without a
// transport: what arrives goes into Feed, what is to be sent gathers at out(). A host bears so much
// from its guest as SessionPace says, over all transports. Not thread-safe.
class SessionLink {
 public:
  enum class Role { kHost, kGuest };
  struct Events {
    std::function<void()> on_begin;
    std::function<void()> on_end;  // every begin has one, but for the destructor's
    std::function<void(const char*, size_t)> on_data;
  };
  SessionLink(Role role, Events events);

  // kHost: asks for a session, anew whenever it is called without one. kGuest: says that whatever
  // session there was is over.
  void Start();
  void Feed(const char* data, size_t size) { decoder_.Feed(data, size); }
  void Send(const char* data, size_t size) { EncodePayload(data, size, &out_); }
  void End();  // this side's wish, or the transport's end; the other side is told
  // kHost: ends a session in which the guest said what no peer says, and asks for another.
  void Again();
  bool up() const { return up_; }
  // kHost: the guest breaks sessions or speaks of them too often. The transport is of no more use,
  // and the next one is to wait for pause().
  bool refused() const { return refused_; }
  std::chrono::milliseconds pause() const { return pace_.Wait(); }
  // What the transport is to send, and how much of it it has sent.
  const char* out() const { return out_.data() + sent_; }
  size_t pending() const { return out_.size() - sent_; }
  void Sent(size_t size);

 private:
  void OnControl(FrameKind kind, const std::string& nonce);
  void OnGuest(FrameKind kind, const std::string& nonce);
  void Finish();
  void Refuse();

  const Role role_;
  const Events events_;
  FrameDecoder decoder_;
  std::string nonce_;
  std::string out_;
  size_t sent_ = 0;
  bool up_ = false;
  SessionPace pace_;
  bool refused_ = false;
};

}  // namespace rum

#endif  // RUM_AGENT_API_FORWARD_SESSION_LINK_H_
