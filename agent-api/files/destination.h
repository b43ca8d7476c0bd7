#ifndef RUM_AGENT_API_FILES_DESTINATION_H_
#define RUM_AGENT_API_FILES_DESTINATION_H_

#include <string>

#include "absl/status/statusor.h"
#include "agent-api/files/owned_fd.h"

namespace rum {

// Where the first item of a tree goes: `name` in the open `folder`. "." means the folder itself.
struct Destination {
  OwnedFd folder;
  std::string name;
  std::string path;  // of the item, for messages
};

// Finds it as cp(1) does: a folder that is there gets the item under `name` (empty: only what the
// item holds); otherwise `path` is the item's own, and only its parent must be there. With
// `must_be_folder`, or a slash at its end, it must be a folder that is there.
absl::StatusOr<Destination> FindDestination(const std::string& path, const std::string& name,
                                            bool must_be_folder);

// The last name of a path, without slashes at its end; "" when that is none: "/", "." or "..".
std::string LastName(const std::string& path);

}  // namespace rum

#endif  // RUM_AGENT_API_FILES_DESTINATION_H_
