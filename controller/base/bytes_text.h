#ifndef RUM_CONTROLLER_BASE_BYTES_TEXT_H_
#define RUM_CONTROLLER_BASE_BYTES_TEXT_H_

#include <string>

namespace rum {

// Writes an amount for people, in the units of rum.toml: "812 B", "1.5 GiB". The unit is chosen so
// that there are at most four digits.
std::string BytesText(double bytes);

}  // namespace rum

#endif  // RUM_CONTROLLER_BASE_BYTES_TEXT_H_
