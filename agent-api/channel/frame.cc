#include "agent-api/channel/frame.h"

#include <sys/random.h>

#include <algorithm>
#include <cstring>

namespace rum {

namespace {

// How many bytes there are before the mark, or before a beginning of it that the end cuts off.
size_t BeforeMark(const char* data, size_t size) {
  for (size_t at = 0; at < size; ++at) {
    const void* found = std::memchr(data + at, kMark[0], size - at);
    if (found == nullptr) return size;
    at = static_cast<size_t>(static_cast<const char*>(found) - data);
    if (std::memcmp(data + at, kMark, std::min(kMarkSize, size - at)) == 0) return at;
  }
  return size;
}

}  // namespace

std::string EncodeControl(FrameKind kind, const std::string& nonce) {
  std::string frame(kMark, kMarkSize);
  frame.push_back(static_cast<char>(kind));
  if (kind != FrameKind::kNop && kind != FrameKind::kLiteral) frame += nonce + "\n";
  return frame;
}

std::string NewNonce() {
  unsigned char bytes[kNonceSize / 2];
  for (size_t got = 0; got < sizeof bytes;) {
    const ssize_t n = getrandom(bytes + got, sizeof bytes - got, 0);
    if (n > 0) got += static_cast<size_t>(n);
  }
  std::string nonce;
  for (const unsigned char byte : bytes) {
    nonce.push_back("0123456789abcdef"[byte >> 4]);
    nonce.push_back("0123456789abcdef"[byte & 15]);
  }
  return nonce;
}

void EncodePayload(const char* data, size_t size, std::string* out) {
  size_t copied = 0;
  for (size_t at = 0; at < size;) {
    const void* found = std::memchr(data + at, kMark[0], size - at);
    if (found == nullptr) break;
    const size_t start = static_cast<size_t>(static_cast<const char*>(found) - data);
    const size_t length = std::min(kMarkSize, size - start);
    if (std::memcmp(data + start, kMark, length) != 0) {
      at = start + 1;  // the mark's first byte occurs in it once
      continue;
    }
    out->append(data + copied, start + length - copied);
    copied = at = start + length;
    if (length == kMarkSize) {
      out->push_back(static_cast<char>(FrameKind::kLiteral));
    } else {
      *out += EncodeControl(FrameKind::kNop, "");
    }
  }
  out->append(data + copied, size - copied);
}

void FrameDecoder::Feed(const char* data, size_t size) {
  for (size_t i = 0; i < size;) {
    // Payload goes on as it is, without a copy.
    const size_t plain = !in_frame_ && matched_ == 0 ? BeforeMark(data + i, size - i) : 0;
    if (plain > 0) {
      FlushPlain();
      on_data_(data + i, plain);
      i += plain;
    } else {
      FeedByte(data[i++]);
    }
  }
  FlushPlain();
}

void FrameDecoder::FlushPlain() {
  if (plain_.empty()) return;
  std::string plain;
  plain.swap(plain_);
  on_data_(plain.data(), plain.size());
}

void FrameDecoder::FeedByte(char byte) {
  if (!in_frame_) {
    if (byte == kMark[matched_]) {
      if (++matched_ < kMarkSize) return;
      matched_ = 0;
      in_frame_ = true;
      kind_known_ = false;
      nonce_.clear();
      return;
    }
    plain_.append(kMark, matched_);
    matched_ = byte == kMark[0] ? 1 : 0;
    if (matched_ == 0) plain_.push_back(byte);
    return;
  }
  if (!kind_known_) {
    kind_ = static_cast<FrameKind>(byte);
    kind_known_ = true;
    if (kind_ == FrameKind::kLiteral) plain_.append(kMark, kMarkSize);
    if (kind_ == FrameKind::kLiteral || kind_ == FrameKind::kNop) in_frame_ = false;
    if (kind_ >= FrameKind::kLiteral && kind_ <= FrameKind::kNop) return;
  } else if (nonce_.size() < kNonceSize && std::strchr("0123456789abcdef", byte) != nullptr &&
             byte != 0) {
    nonce_.push_back(byte);
    return;
  } else if (nonce_.size() == kNonceSize && byte == '\n') {
    in_frame_ = false;
    FlushPlain();
    on_control_(kind_, nonce_);
    return;
  }
  // Not a frame, but the end of one that was cut off: what follows may begin the next.
  in_frame_ = false;
  FeedByte(byte);
}

}  // namespace rum
