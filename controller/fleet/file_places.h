#ifndef RUM_CONTROLLER_FLEET_FILE_PLACES_H_
#define RUM_CONTROLLER_FLEET_FILE_PLACES_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace rum {

// A name in a folder.
struct FilePlace {
  std::string folder;  // a path; as it was walked, with "/.." where a link has that
  std::string name;
  bool operator==(const FilePlace&) const = default;
};

// Lists where a change changes what is read at `path`: at the path itself, and where it or what it
// leads to is a link, at each link of the chain and at its end. Links in the path's own folder are
// not followed.
std::vector<FilePlace> PlacesOf(const std::string& path);

// Tells which folder is at a path now; all 0: none.
struct FolderId {
  dev_t device = 0;
  ino_t inode = 0;
  bool operator==(const FolderId&) const = default;
};
FolderId FolderAt(const std::string& path);

// Tells a file that was written or exchanged from the one before, but for its bytes.
struct FileLook {
  int error = 0;
  dev_t device = 0;
  ino_t inode = 0;
  mode_t mode = 0;
  int64_t size = 0;
  int64_t written_ns = 0;
  int64_t changed_ns = 0;
  bool operator==(const FileLook&) const = default;
};
FileLook LookAt(const std::string& path);

// Whether the kernel tells of all that changes in a folder. With file systems that others write to
// as well (NFS, 9p, virtiofs) it tells what is done through this kernel alone.
bool TellsChanges(const std::string& folder);

}  // namespace rum

#endif  // RUM_CONTROLLER_FLEET_FILE_PLACES_H_
