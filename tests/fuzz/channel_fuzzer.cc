// Any bytes as a stream of the guest channel: the decoder makes the same of them however they are
// cut, and any payload comes out as it went in.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "agent-api/channel/frame.h"

namespace {

// Payload and control frames, as one text.
std::string Decode(const std::string& stream, size_t step) {
  std::string heard;
  rum::FrameDecoder decoder([&](const char* data, size_t size) { heard.append(data, size); },
                            [&](rum::FrameKind kind, const std::string& nonce) {
                              heard += "<" + std::to_string(static_cast<int>(kind)) + nonce + ">";
                            });
  for (size_t at = 0; at < stream.size(); at += step) {
    decoder.Feed(stream.data() + at, std::min(step, stream.size() - at));
  }
  return heard;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const size_t step = size == 0 ? 1 : 1 + data[0] % 16;
  if (Decode(bytes, 1) != Decode(bytes, bytes.size() + 1)) std::abort();
  if (Decode(bytes, step) != Decode(bytes, 1)) std::abort();
  std::string stream;
  for (size_t at = 0; at < bytes.size(); at += step) {
    rum::EncodePayload(bytes.data() + at, std::min(step, bytes.size() - at), &stream);
  }
  if (Decode(stream, step) != bytes) std::abort();
  return 0;
}
