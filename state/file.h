#ifndef RUM_STATE_FILE_H_
#define RUM_STATE_FILE_H_

#include <sys/types.h>

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace rum {

// All bytes of a file. NotFound when there is none, Internal for every other reason; the message
// is the system's words alone ("Is a directory").
absl::StatusOr<std::string> ReadFile(const std::string& path);

// The same, of a regular file of at most `most` bytes; also at once where the path is that of a
// pipe, a device or a socket, which are not opened to be waited for. FailedPrecondition for these
// and for a file that is larger.
absl::StatusOr<std::string> ReadRegularFile(const std::string& path, size_t most);

// What follows is on the disk when it returns Ok. Each error names the path, and what to do where
// the disk is full (ResourceExhausted) or fails (Internal).

// Replaces the file as a whole: whatever happens meanwhile, it is the old or the new one.
absl::Status ReplaceFile(const std::string& path, const std::string& bytes);
// Ok when there is none.
absl::Status RemoveFile(const std::string& path);
// Makes the folder and those above it that are not there; `mode`: less what umask(2) takes.
absl::Status MakeFolders(const std::string& path, mode_t mode = 0700);
// What was written to the file; of a folder, which names it has.
absl::Status SyncFile(const std::string& path);
// An error of these.
absl::Status DiskError(int error, const std::string& path);

}  // namespace rum

#endif  // RUM_STATE_FILE_H_
