#ifndef RUM_AGENT_API_FORWARD_MUX_H_
#define RUM_AGENT_API_FORWARD_MUX_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>

#include "agent-api/channel/http2_gate.h"

struct nghttp2_session;

namespace rum {

// Many TCP connections over one ordered stream of bytes, each with flow control of its own: HTTP/2
// CONNECT streams (RFC 9113, 8.5) by libnghttp2, without a transport: bytes go in by Feed and come
// out by Produce. What the reader of a stream has not taken is bounded by the stream's window:
// kFirstWindow, and more, up to kMostWindow, only for streams whose reader keeps up and only out of
// kSpareWindow for all of them. Not thread-safe; no call but Feed and Produce calls back.
//
// A host does not trust its guest: that opens no stream and pushes none, and what it says beside
// data follows from what it was told: kFramesOfStream frames for each stream, one for each
// kBytesOfFrame of data, kFreeFrames more. Another one ends the session, as does what Http2Gate
// stops, or data of streams that are over, but for what was under way when the host reset them.
class Mux {
 public:
  enum class Side { kHost, kGuest };
  static constexpr size_t kFirstWindow = 48 * 1024;
  static constexpr size_t kMostWindow = 512 * 1024;
  static constexpr size_t kSpareWindow = 8 * 1024 * 1024;
  static constexpr size_t kFreeFrames = 64;
  // An answer, a reset, and window updates, of which there are four when the window grows.
  static constexpr size_t kFramesOfStream = 8;
  static constexpr size_t kBytesOfFrame = kFirstWindow / 3;  // a window is updated at its half

  // This side's end of a stream.
  class Stream {
   public:
    virtual ~Stream() = default;
    // kHost: the guest has connected (0), or could not (errno), and the stream is to be reset.
    virtual void OnAnswer(int error) = 0;
    // Puts up to `size` bytes for the peer into `buffer`; how many, or one of the others.
    static constexpr int64_t kNothingNow = -1;  // Resume() says when there is something
    static constexpr int64_t kEnd = -2;
    static constexpr int64_t kBroken = -3;  // resets the stream
    virtual int64_t Take(char* buffer, size_t size) = 0;
    // Consumed() says when they are out of memory.
    virtual void OnData(const char* data, size_t size) = 0;
    virtual void OnEnd() = 0;  // no more data from the peer
    // The mux has forgotten the stream: by both ends, or by a reset of either side.
    virtual void OnClose(bool reset) = 0;
  };

  // kGuest: `open` is told of a new stream and returns its end; `probe`: no data will follow.
  using OnOpen = std::function<Stream*(int32_t id, uint16_t port, bool probe)>;
  Mux(Side side, OnOpen open);
  ~Mux();
  Mux(const Mux&) = delete;
  Mux& operator=(const Mux&) = delete;

  // kHost: a stream to a port of the guest. Data may be sent before the answer. A negative number:
  // this session has no number left for it.
  int32_t Open(uint16_t port, Stream* stream, bool probe);
  void Answer(int32_t id, int error);  // kGuest; 0: connected
  void Resume(int32_t id);
  void Consumed(int32_t id, size_t size);
  void Reset(int32_t id);  // forgets it, so that OnClose does not come
  void Ping();
  size_t streams() const { return streams_.size(); }

  // False: not what a peer of ours says; the session is of no more use.
  bool Feed(const char* data, size_t size);
  // Gives `sink` what is to be sent until there is nothing, or `sink` says false. False: the
  // session is of no more use.
  bool Produce(const std::function<bool(const char* data, size_t size)>& sink);

 private:
  struct Entry {
    Stream* stream = nullptr;
    bool probe = false;
    uint32_t port = 0;
    int error = 0;
    size_t window = kFirstWindow;
    size_t held = 0;          // received, not consumed
    size_t since_growth = 0;  // received since the window has this size
  };
  struct Callbacks;

  bool Alive() const;  // it has neither ended nor said that it will
  Entry* Find(int32_t id);
  Stream* Forget(int32_t id);
  void Grow(int32_t id, Entry* entry);
  void Heard(int32_t id, bool ended);
  bool MaySay(const Http2Head& head);  // kHost

  const Side side_;
  const OnOpen open_;
  nghttp2_session* session_ = nullptr;
  std::unordered_map<int32_t, Entry> streams_;
  size_t spare_window_ = kSpareWindow;
  // kHost:
  Http2Gate gate_;
  size_t allowed_ = kFreeFrames;  // of the guest's frames that are no data
  size_t told_ = 0;               // bytes of this side's that allowed none yet
  size_t stray_ = 0;              // bytes of the guest's that may come for streams that were reset
};

}  // namespace rum

#endif  // RUM_AGENT_API_FORWARD_MUX_H_
