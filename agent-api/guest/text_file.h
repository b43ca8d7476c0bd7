#ifndef RUM_AGENT_API_GUEST_TEXT_FILE_H_
#define RUM_AGENT_API_GUEST_TEXT_FILE_H_

#include <sys/types.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace rum::guest {

// The whole file; empty when it cannot be read.
std::string ReadFile(const std::string& path);
// The same for whoever writes it back: NotFound when there is none, else why it cannot be read.
absl::StatusOr<std::string> ReadFileToEdit(const std::string& path);
// The first line without its end.
std::string FirstLine(const std::string& text);
// Writes beside the file, flushes to disk, renames: a reader sees the old or the new text. Keeps
// owner and mode of an old file, else `mode`.
absl::Status WriteFileAtomically(const std::string& path, const std::string& bytes, mode_t mode);
// Makes a file that is not there yet, and that nobody needs after a power cut: it is not flushed.
absl::Status WriteNewFile(const std::string& path, const std::string& bytes, mode_t mode);
// After it, the files of a folder are there with their present names also when power fails.
absl::Status SyncFolder(const std::string& folder);

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_TEXT_FILE_H_
