// Any bytes as what a guest sends of HTTP/2: the gate judges them the same however they are cut,
// and what it shut stays shut.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "agent-api/channel/http2_gate.h"

namespace {

bool Passes(const std::string& stream, size_t step) {
  rum::Http2Gate gate([] { return std::chrono::steady_clock::time_point(std::chrono::hours(1)); });
  bool open = true;
  for (size_t at = 0; at < stream.size(); at += step) {
    const bool taken = gate.Feed(stream.data() + at, std::min(step, stream.size() - at));
    if (taken && !open) std::abort();
    open = taken;
  }
  return open;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const bool whole = Passes(bytes, bytes.size() + 1);
  if (Passes(bytes, 1) != whole || Passes(bytes, size == 0 ? 1 : 1 + data[0] % 16) != whole) {
    std::abort();
  }
  return 0;
}
