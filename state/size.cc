#include "state/size.h"

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "state/names.h"

namespace rum {
namespace {

constexpr char kUnits[] = "kmgt";

// The power of 1024 of "G", "gb", "GiB", "Gi"; nullopt: not a unit.
std::optional<int> PowerOf(const std::string& unit) {
  if (unit.empty()) return 0;
  const std::string lower = absl::AsciiStrToLower(unit);
  const size_t at = std::string(kUnits).find(lower[0]);
  static const std::set<std::string> ends = {"", "b", "i", "ib"};
  if (at == std::string::npos || ends.count(lower.substr(1)) == 0) return std::nullopt;
  return static_cast<int>(at) + 1;
}

// "20 GiB" as "20" and "GiB".
void Split(const std::string& text, std::string* digits, std::string* unit) {
  const size_t end = std::min(text.find_first_not_of("0123456789"), text.size());
  *digits = text.substr(0, end);
  const size_t begin = std::min(text.find_first_not_of(' ', end), text.size());
  *unit = text.substr(begin);
  if (unit->empty() && begin > end) *unit = " ";  // a space before nothing is no size
}

}  // namespace

std::optional<uint64_t> ParseSize(const std::string& text) {
  std::string digits, unit;
  Split(text, &digits, &unit);
  const std::optional<int> power = PowerOf(unit);
  if (digits.empty() || !power) return std::nullopt;
  uint64_t value = 0;
  for (const char c : digits) {
    if (__builtin_mul_overflow(value, uint64_t{10}, &value) ||
        __builtin_add_overflow(value, static_cast<uint64_t>(c - '0'), &value)) {
      return std::nullopt;
    }
  }
  if (__builtin_mul_overflow(value, uint64_t{1} << (10 * *power), &value)) return std::nullopt;
  return value;
}

std::string SizeProblem(const std::string& text) {
  std::string digits, unit;
  Split(text, &digits, &unit);
  const std::string got = absl::StrCat(" (got ", Quoted(text), ")");
  if (!digits.empty() && PowerOf(unit).has_value()) {
    return absl::StrCat("is more than any disk holds", got);
  }
  const bool fraction = !digits.empty() && !unit.empty() && (unit[0] == '.' || unit[0] == ',');
  return absl::StrCat("must be a size: an integer and K, M, G or T, such as \"20G\"",
                      fraction ? "; \"1536M\" is one and a half G" : "", got);
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
