#ifndef RUM_AGENT_API_CHANNEL_FRAME_H_
#define RUM_AGENT_API_CHANNEL_FRAME_H_

#include <cstddef>
#include <functional>
#include <string>

namespace rum {

// The framing of the guest channel: payload bytes as they are, with control frames between them
// that no payload can imitate. It lets either end find the beginning of a session in a stream that
// still holds pieces of an older one.
//
//   frame = M, kind byte, and for kHello..kBye 32 hex digits (the session's nonce) and '\n'
//   M that occurs in the payload is sent as M kLiteral; a chunk that ends inside a prefix of M is
//   followed by M kNop.
inline constexpr char kMark[] = "\xF5\x52\x75\x6D\x1B\x4C\x6B\x9D";
inline constexpr size_t kMarkSize = 8;
inline constexpr size_t kNonceSize = 32;

enum class FrameKind : char { kLiteral = 0, kHello = 1, kAck = 2, kReset = 3, kBye = 4, kNop = 5 };

// `nonce`: kNonceSize hex digits.
std::string EncodeControl(FrameKind kind, const std::string& nonce);
// A fresh nonce from the kernel's random numbers.
std::string NewNonce();
// Appends one chunk of payload, stuffed, to `out`. Chunks may be cut anywhere.
void EncodePayload(const char* data, size_t size, std::string* out);

// Takes the stream apart again, however it is cut. Not thread-safe.
class FrameDecoder {
 public:
  using OnData = std::function<void(const char*, size_t)>;
  using OnControl = std::function<void(FrameKind, const std::string& nonce)>;
  FrameDecoder(OnData on_data, OnControl on_control)
      : on_data_(std::move(on_data)), on_control_(std::move(on_control)) {}

  void Feed(const char* data, size_t size);

 private:
  void FeedByte(char byte);
  void FlushPlain();

  OnData on_data_;
  OnControl on_control_;
  size_t matched_ = 0;     // bytes of the mark that the last bytes are
  bool in_frame_ = false;  // the mark was whole; `kind_` or the nonce follows
  bool kind_known_ = false;
  FrameKind kind_ = FrameKind::kNop;
  std::string nonce_;
  std::string plain_;  // payload found in this Feed
};

}  // namespace rum

#endif  // RUM_AGENT_API_CHANNEL_FRAME_H_
