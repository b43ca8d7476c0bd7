#ifndef RUM_AGENT_API_GUEST_TEXT_FILE_H_
#define RUM_AGENT_API_GUEST_TEXT_FILE_H_

#include <sys/types.h>

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent-api/first_line.h"

namespace rum::guest {

// Larger than any file is that an agent has to do with: lists of blocked hosts have some.
inline constexpr size_t kMostOfAFile = 16 << 20;

// The whole file; empty when it cannot be read.
std::string ReadFile(const std::string& path, size_t most = kMostOfAFile);
// The same for whoever writes it back: NotFound when there is none, else why it cannot be read.
// What is no regular file, or has more than `most` bytes, is never read.
absl::StatusOr<std::string> ReadFileToEdit(const std::string& path, size_t most = kMostOfAFile);
// So many links of a path are followed, as the kernel does: path_resolution(7).
inline constexpr int kMostLinks = 40;
// Returns where links lead from `path`, also when there is nothing yet.
absl::StatusOr<std::string> ThroughLinks(const std::string& path);
// Writes beside the file, flushes to disk, renames: a reader sees the old or the new text. A link
// stays and what it leads to is replaced, with the owner, mode, ACL and extended attributes that it
// had; a new file gets `mode`. Within AsUser, all but the owner is by that user's rights.
absl::Status WriteFileAtomically(const std::string& path, const std::string& bytes, mode_t mode);
// Makes a file that is not there yet, and that nobody needs after a power cut: it is not flushed.
absl::Status WriteNewFile(const std::string& path, const std::string& bytes, mode_t mode);
// After it, the files of a folder are there with their present names also when power fails.
absl::Status SyncFolder(const std::string& folder);

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_TEXT_FILE_H_
