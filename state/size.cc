#include "state/size.h"

#include <cctype>

namespace rum {

std::optional<uint64_t> ParseSize(const std::string& text) {
  size_t i = 0;
  uint64_t value = 0;
  for (; i < text.size() && std::isdigit(static_cast<unsigned char>(text[i])); ++i) {
    if (__builtin_mul_overflow(value, uint64_t{10}, &value) ||
        __builtin_add_overflow(value, static_cast<uint64_t>(text[i] - '0'), &value)) {
      return std::nullopt;
    }
  }
  if (i == 0) return std::nullopt;
  if (i == text.size()) return value;
  const std::string units = "KMGT";
  const size_t unit =
      units.find(static_cast<char>(std::toupper(static_cast<unsigned char>(text[i]))));
  if (unit == std::string::npos) return std::nullopt;
  ++i;
  if (i < text.size() && std::toupper(static_cast<unsigned char>(text[i])) == 'B') ++i;
  if (i != text.size()) return std::nullopt;
  if (__builtin_mul_overflow(value, uint64_t{1} << (10 * (unit + 1)), &value)) return std::nullopt;
  return value;
}

std::string FormatSize(uint64_t bytes) {
  const char* const units[] = {"", "K", "M", "G", "T"};
  int unit = 0;
  while (bytes != 0 && bytes % 1024 == 0 && unit < 4) bytes /= 1024, ++unit;
  return std::to_string(bytes) + units[unit];
}

uint64_t DiskSize(uint64_t bytes) {
  constexpr uint64_t kUnit = 1024;
  const uint64_t rest = bytes % kUnit;
  if (rest == 0 || bytes > UINT64_MAX - kUnit) return bytes;
  return bytes - rest + kUnit;
}

}  // namespace rum
