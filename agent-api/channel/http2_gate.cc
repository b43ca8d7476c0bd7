#include "agent-api/channel/http2_gate.h"

#include <algorithm>

namespace rum {

bool Http2Gate::Feed(const char* data, size_t size) {
  for (size_t at = 0; at < size && !bad_;) {
    if (left_ > 0) {
      const size_t payload = std::min(left_, size - at);
      left_ -= payload;
      at += payload;
      continue;
    }
    head_[got_++] = static_cast<unsigned char>(data[at++]);
    if (got_ < kHead) continue;
    got_ = 0;
    bad_ = !TakeHead();
  }
  return !bad_;
}

bool Http2Gate::TakeHead() {
  Http2Head head;
  head.size = left_ = size_t{head_[0]} << 16 | size_t{head_[1]} << 8 | head_[2];
  head.type = head_[3];
  head.flags = head_[4];
  for (size_t i = 5; i < kHead; ++i) head.stream = head.stream << 8 | head_[i];
  head.stream &= 0x7fffffff;  // the first bit means nothing
  return MayPass(head) && (!judge_ || judge_(head));
}

bool Http2Gate::MayPass(const Http2Head& head) {
  if (head.type == Http2Head::kData) return true;  // the windows of streams bound it
  if (head.size > kMostOther || head.type == Http2Head::kPushPromise) return false;
  if (head.type == Http2Head::kHeaders || head.type == Http2Head::kContinuation) {
    headers_ += head.size + kHead;
    if (headers_ > kMostHeaders) return false;
    if ((head.flags & Http2Head::kEndHeaders) != 0) headers_ = 0;
    return true;
  }
  const bool asks = head.type == Http2Head::kPing || head.type == Http2Head::kSettings;
  return !asks || (head.flags & Http2Head::kAck) != 0 || asked_.Take(now_());
}

}  // namespace rum
