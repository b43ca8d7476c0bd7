#include "controller/images/progress.h"

#include "absl/strings/str_format.h"

namespace rum {

std::string SizeText(int64_t bytes) {
  constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 999.5 && unit + 1 < std::size(kUnits); ++unit) value /= 1000;
  // Two digits are enough to see it move, one behind the point only where it is the second.
  const bool fraction = unit > 0 && value < 9.95;
  return absl::StrFormat("%.*f %s", fraction ? 1 : 0, value, kUnits[unit]);
}

}  // namespace rum
