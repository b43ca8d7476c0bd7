#ifndef RUM_AGENT_API_GUEST_UNFINISHED_DRIVES_H_
#define RUM_AGENT_API_GUEST_UNFINISHED_DRIVES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace rum::guest {

// Remembers over a power cut which blank drives a filesystem was being made on, so that half of one
// is not taken for somebody's data: a file of lines, the boot's id and the drive's serial. Not
// thread-safe.
class UnfinishedDrives {
 public:
  explicit UnfinishedDrives(std::string path) : path_(std::move(path)) {}

  // Are on the disk when they return Ok.
  absl::Status Note(const std::vector<std::string>& serials);
  absl::Status Forget(const std::vector<std::string>& serials);
  // Serials noted in an earlier boot: the guest died meanwhile, and nobody has used the drive
  // since.
  std::vector<std::string> OfEarlierBoots() const;

 private:
  const std::string path_;
};

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_UNFINISHED_DRIVES_H_
