#ifndef RUM_CONTROLLER_ASPECTS_DISK_ROOM_H_
#define RUM_CONTROLLER_ASPECTS_DISK_ROOM_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "controller/aspects/aspect.h"

namespace rum {

inline constexpr char kRootDisk[] = "resources.disk";

// Whether it is the root disk, a drive or a filesystem.
bool IsOfDisks(const std::string& field);

// A filesystem of the file or of a definition.
struct FsItem {
  std::string type;
  Fs fs;
  std::vector<std::string> Drives() const;
};
// Lists them by their items: "fs.ext4[/data]". A change of "fs.ext4" is one of all in it.
std::map<std::string, FsItem> FsItemsOf(const Config& config);
bool IsOfItem(const std::string& changed, const std::string& item);
// The filesystems of `running` with those that changed as in `desired`.
google::protobuf::Map<std::string, FsList> AdoptedFs(
    const Config& running, const Config& desired,
    const google::protobuf::RepeatedPtrField<std::string>& changed);

// Finds which changes of disks the running machine can take as it is: what its agent tells of its
// drives, and what ports it has. Pure. The scene outlives it.
class DiskRoom {
 public:
  explicit DiskRoom(const Scene& scene);
  // Finds the way of a change of disks from the running definition.
  Way Of(const FieldChange& change) const;
  // Null: the guest does not see it.
  const agent::DriveState* Seen(const std::string& serial) const;
  // Whether the running machine has all of them.
  bool Runs(const std::vector<std::string>& drives) const;

 private:
  Way OfDrive(const FieldChange& change) const;
  Way Unplugging(const std::string& drive) const;
  Way Growing(const std::string& serial) const;
  Way OfFilesystem(const std::string& item) const;

  const Scene& scene_;
  const DomainState& domain_;
  const std::map<std::string, FsItem> before_, after_;
  std::map<std::string, const agent::DriveState*> seen_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_ASPECTS_DISK_ROOM_H_
