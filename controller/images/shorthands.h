#ifndef RUM_CONTROLLER_IMAGES_SHORTHANDS_H_
#define RUM_CONTROLLER_IMAGES_SHORTHANDS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace rum {

// Where an image comes from, and what it must be.
struct ImageSource {
  std::string url;     // http(s)://, file:// or an absolute path
  std::string sha256;  // hex of the bytes as published, before any unpacking; empty: not said
  std::string checksums_url;  // a mirror's file of checksums (SHA256SUMS, SHA512SUMS, CHECKSUM of
                              // Fedora) that names the image; empty: none
};

// A short name for a published cloud image, such as debian-12: one line of shorthands.txt.
struct Shorthand {
  std::string name;
  std::string architecture;  // as uname(2) says: x86_64, aarch64
  std::string url;
  std::string checksums_url;  // empty: the mirror has none that names the image
};

const std::vector<Shorthand>& Shorthands();

// What image.base (an absolute path, a URL or a shorthand) stands for on a host of `architecture`.
// InvalidArgument: neither, with the nearest shorthand; or a shorthand without an image for that
// architecture.
absl::StatusOr<ImageSource> SourceOf(const std::string& base, const std::string& sha256,
                                     const std::string& architecture);

// This host's, as uname(2) says.
std::string HostArchitecture();

}  // namespace rum

#endif  // RUM_CONTROLLER_IMAGES_SHORTHANDS_H_
