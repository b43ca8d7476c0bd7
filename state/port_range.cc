#include "state/port_range.h"

#include <charconv>

namespace rum {
namespace {

bool ReadPort(const std::string& text, uint32_t* port) {
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, *port);
  return error == std::errc() && stop == end && *port >= 1 && *port <= 65535;
}

}  // namespace

std::optional<PortRange> ParsePortRange(const std::string& text) {
  PortRange range;
  const size_t dash = text.find('-');
  if (!ReadPort(text.substr(0, dash), &range.first)) return std::nullopt;
  range.last = range.first;
  if (dash != std::string::npos && !ReadPort(text.substr(dash + 1), &range.last)) {
    return std::nullopt;
  }
  if (range.last < range.first || range.last - range.first >= kMostPorts) return std::nullopt;
  return range;
}

}  // namespace rum
