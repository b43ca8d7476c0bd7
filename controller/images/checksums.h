#ifndef RUM_CONTROLLER_IMAGES_CHECKSUMS_H_
#define RUM_CONTROLLER_IMAGES_CHECKSUMS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "controller/images/progress.h"

namespace rum {

// SHA-2 sums in lower-case hex.
struct Sums {
  std::string sha256;
  std::string sha512;
};

// What the bytes must be; at most one of the sums is said.
struct ExpectedSum {
  Sums sum;
  std::string said_by;  // "image.sha256", or a URL
  bool empty() const { return sum.sha256.empty() && sum.sha512.empty(); }
};

// Sums up a whole file. `name`: in the progress.
absl::StatusOr<Sums> SumsOf(const std::string& path, const std::string& name, Progress* progress);

// FailedPrecondition with both sums: they are not what was expected.
absl::Status CheckSums(const Sums& found, const ExpectedSum& expected, const std::string& name);

// The line of a mirror's file of checksums that names the file `name`: "HASH  name", "HASH *name",
// "SHA256 (name) = HASH", or a file that is one hash and nothing else; SHA-512 goes before SHA-256.
// FailedPrecondition: there is none.
absl::StatusOr<Sums> FindSum(const std::string& text, const std::string& name);

}  // namespace rum

#endif  // RUM_CONTROLLER_IMAGES_CHECKSUMS_H_
