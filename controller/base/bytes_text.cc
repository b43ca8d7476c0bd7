#include "controller/base/bytes_text.h"

#include <cstddef>
#include <iterator>

#include "absl/strings/str_format.h"

namespace rum {

std::string BytesText(double bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  size_t unit = 0;
  // 1023.96 would be shown as 1024.0.
  while (bytes >= 1023.95 && unit + 1 < std::size(kUnits)) bytes /= 1024, ++unit;
  const bool whole = unit == 0 || bytes >= 99.95;
  return absl::StrFormat("%.*f %s", whole ? 0 : 1, bytes, kUnits[unit]);
}

}  // namespace rum
