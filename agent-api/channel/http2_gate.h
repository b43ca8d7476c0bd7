#ifndef RUM_AGENT_API_CHANNEL_HTTP2_GATE_H_
#define RUM_AGENT_API_CHANNEL_HTTP2_GATE_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>

#include "agent-api/channel/session_pace.h"

namespace rum {

// The head of a frame of HTTP/2 (RFC 9113, 4.1).
struct Http2Head {
  enum Type : unsigned char {
    kData = 0,
    kHeaders = 1,
    kReset = 3,
    kSettings = 4,
    kPushPromise = 5,
    kPing = 6,
    kWindowUpdate = 8,
    kContinuation = 9,
  };
  static constexpr unsigned char kAck = 1;  // of SETTINGS and PING
  static constexpr unsigned char kEndStream = 1;
  static constexpr unsigned char kEndHeaders = 4;

  size_t size = 0;  // of what follows
  unsigned char type = kData;
  unsigned char flags = 0;
  uint32_t stream = 0;
};

// Watches the heads of the HTTP/2 frames that a guest sends, before a library has them, which keeps
// headers until their end, however long they are, and an answer to each PING and SETTINGS until the
// guest takes it. Not thread-safe.
class Http2Gate {
 public:
  // Is asked about each frame that passes, by whoever knows more of what the guest may say.
  using Judge = std::function<bool(const Http2Head&)>;
  explicit Http2Gate(std::function<Pace::Time()> now = std::chrono::steady_clock::now,
                     Judge judge = nullptr)
      : now_(std::move(now)), judge_(std::move(judge)) {}

  // Takes bytes of the stream, however it is cut. False: no agent sends that, and the stream is of
  // no more use.
  bool Feed(const char* data, size_t size);

  static constexpr size_t kMostHeaders = 64 * 1024;  // with all that continues them
  static constexpr size_t kMostOther = 16 * 1024;    // a frame that has no data
  static constexpr int kAskedBurst = 64;             // PING and SETTINGS
  static constexpr std::chrono::milliseconds kAskedInterval{100};

 private:
  static constexpr size_t kHead = 9;
  bool TakeHead();
  bool MayPass(const Http2Head& head);

  const std::function<Pace::Time()> now_;
  const Judge judge_;
  Pace asked_{kAskedBurst, kAskedInterval};
  unsigned char head_[kHead] = {};
  size_t got_ = 0;      // of the head
  size_t left_ = 0;     // of the frame's payload
  size_t headers_ = 0;  // bytes of headers that have not ended
  bool bad_ = false;
};

}  // namespace rum

#endif  // RUM_AGENT_API_CHANNEL_HTTP2_GATE_H_
