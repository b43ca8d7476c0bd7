#ifndef RUM_CONTROLLER_IMAGES_SHORTHANDS_H_
#define RUM_CONTROLLER_IMAGES_SHORTHANDS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "controller/images/image_cache.h"

namespace rum {

// A short name for a published cloud image, such as debian-12; one row of shorthands.txt.
struct Shorthand {
  std::string name;
  std::string architecture;  // as uname(1) says: x86_64, aarch64
  std::string url;
  std::string checksums_url;  // empty: the mirror has none
};

const std::vector<Shorthand>& Shorthands();

// What image.base stands for on a host of `architecture`. InvalidArgument: neither a path, a URL nor
// a shorthand, with the nearest ones; or a shorthand that has no image for that architecture, with
// those that it has.
absl::StatusOr<ImageSource> SourceOf(const std::string& base, const std::string& sha256,
                                     const std::string& architecture);

}  // namespace rum

#endif  // RUM_CONTROLLER_IMAGES_SHORTHANDS_H_
