#ifndef RUM_STATE_PORT_RANGE_H_
#define RUM_STATE_PORT_RANGE_H_

#include <cstdint>
#include <optional>
#include <string>

namespace rum {

struct PortRange {
  uint32_t first = 0;
  uint32_t last = 0;
};

inline constexpr uint32_t kMostPorts = 1000;  // of one range

// "8000-8010" or "8000": at most kMostPorts ports from 1 to 65535, the last not below the first.
std::optional<PortRange> ParsePortRange(const std::string& text);

}  // namespace rum

#endif  // RUM_STATE_PORT_RANGE_H_
