#ifndef RUM_CONTROLLER_IMAGES_FILE_LOCK_H_
#define RUM_CONTROLLER_IMAGES_FILE_LOCK_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "controller/base/fd.h"

namespace rum {

// A lock on a file, between threads as well as processes, that goes with its owner, however that
// ends. (Locks of open file descriptions, fcntl(2), not flock(2): those can be asked about without
// being taken, and two that only look would see each other.)
class FileLock {
 public:
  // Waits until nobody else has it; `waiting` is called again and again meanwhile, and its error
  // ends the wait. The file is made if need be.
  static absl::StatusOr<std::shared_ptr<FileLock>> Exclusive(
      const std::string& path, const std::function<absl::Status()>& waiting);
  // Null when somebody has it, or there is no such folder. The file is made if need be.
  static std::shared_ptr<FileLock> TryExclusive(const std::string& path);
  // Any number may share it; waits for an exclusive owner. Null when there is no such folder
  // (then). The file is made if need be: a power cut may have taken it.
  static std::shared_ptr<FileLock> Shared(const std::string& path);
  // Whether anybody has it, shared or not.
  static bool IsHeld(const std::string& path);

 private:
  explicit FileLock(Fd fd) : fd_(std::move(fd)) {}

  const Fd fd_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_IMAGES_FILE_LOCK_H_
