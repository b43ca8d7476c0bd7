#ifndef RUM_CONTROLLER_IMAGES_UNPACK_H_
#define RUM_CONTROLLER_IMAGES_UNPACK_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "controller/images/progress.h"

namespace rum {

// Whether the file is compressed (xz, gzip, zstd, bzip2), by its content.
absl::StatusOr<bool> IsCompressed(const std::string& path);

// Unpacks `from` to the new file `to`, with holes where it is zero, and syncs it. InvalidArgument:
// it is damaged. ResourceExhausted: the disk is full. `name`: in texts for people.
absl::Status Unpack(const std::string& from, const std::string& to, const std::string& name,
                    Progress* progress);

}  // namespace rum

#endif  // RUM_CONTROLLER_IMAGES_UNPACK_H_
