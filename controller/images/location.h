#ifndef RUM_CONTROLLER_IMAGES_LOCATION_H_
#define RUM_CONTROLLER_IMAGES_LOCATION_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace rum {

// What an ImageSource's url says.
struct Location {
  bool remote = false;
  std::string url;   // of a remote one, as it was given
  std::string path;  // of a local one, percent-decoded
  std::string name;  // the last component of its path, decoded; for people and for checksum files
};

// InvalidArgument: neither http(s)://, file:// (of this host) nor an absolute path.
absl::StatusOr<Location> LocationOf(const std::string& url);

// A URL as it may be shown: without a user's name and password.
std::string ShownUrl(const std::string& url);

// Whether a redirect may be followed: only to http and https, and never from https to http.
absl::Status MayRedirect(const std::string& from, const std::string& to);

}  // namespace rum

#endif  // RUM_CONTROLLER_IMAGES_LOCATION_H_
