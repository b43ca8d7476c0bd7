#ifndef RUM_CONTROLLER_IMAGES_LOCATION_H_
#define RUM_CONTROLLER_IMAGES_LOCATION_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace rum {

// What an ImageSource's url says.
struct Location {
  bool remote = false;
  bool secure = false;  // https
  std::string url;      // of a remote one, as it was given
  std::string path;     // of a local one, percent-decoded
  std::string name;  // the last component of its path, decoded; for people and for checksum files
};

// InvalidArgument: neither http(s)://, file:// (of this host) nor an absolute path.
absl::StatusOr<Location> LocationOf(const std::string& url);

// Whether a redirect may be followed: only to http and https, and never from https to http, nor
// from this host to http elsewhere unless the bytes are `checked` afterwards.
absl::Status MayRedirect(const std::string& from, const std::string& to, bool checked);

}  // namespace rum

#endif  // RUM_CONTROLLER_IMAGES_LOCATION_H_
