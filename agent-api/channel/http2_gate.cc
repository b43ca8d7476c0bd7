#include "agent-api/channel/http2_gate.h"

#include <algorithm>

namespace rum {
namespace {

enum Http2Frame : unsigned char {
  kData = 0,
  kHeaders = 1,
  kSettings = 4,
  kPushPromise = 5,
  kPing = 6,
  kContinuation = 9,
};
constexpr unsigned char kAckFlag = 1;
constexpr unsigned char kEndHeaders = 4;

}  // namespace

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
  left_ = size_t{head_[0]} << 16 | size_t{head_[1]} << 8 | head_[2];
  const unsigned char type = head_[3];
  const unsigned char flags = head_[4];
  if (type == kData) return true;  // the windows of streams bound it
  if (left_ > kMostOther || type == kPushPromise) return false;
  if (type == kHeaders || type == kContinuation) {
    headers_ += left_ + kHead;
    if (headers_ > kMostHeaders) return false;
    if ((flags & kEndHeaders) != 0) headers_ = 0;
    return true;
  }
  const bool asks = (type == kPing || type == kSettings) && (flags & kAckFlag) == 0;
  return !asks || asked_.Take(now_());
}

}  // namespace rum
