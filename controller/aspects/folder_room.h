#ifndef RUM_CONTROLLER_ASPECTS_FOLDER_ROOM_H_
#define RUM_CONTROLLER_ASPECTS_FOLDER_ROOM_H_

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "controller/aspects/aspect.h"

namespace rum {

// A shared folder of a running machine, which a tag stands for: as it is, and as it is to be.
struct Folder {
  std::string tag;
  std::optional<std::string> shared;  // where on the host it is now; nullopt: it is not shared
  const Mount* mounted = nullptr;     // what the machine mounts of it
  const Mount* wanted = nullptr;

  bool IsSettled() const;  // but for what a mount of it is called on the host
};

// Finds which changes of shared folders the running machine can take as it is. Pure. The scene
// outlives it.
class FolderRoom {
 public:
  FolderRoom(const Config& desired, const DomainState& domain);
  explicit FolderRoom(const Scene& scene);

  // All that there are, are to be, or are leaving, by their tags.
  std::vector<Folder> All() const;
  Folder Of(const std::string& tag) const;
  // Those that a change is about: the one that is mounted there, and the one that is to be.
  std::vector<Folder> OfChange(const std::string& field) const;
  // Whether the one that is shared does; else it has to be attached.
  bool Does(const Folder& folder) const;
  Way WayOfChange(const FieldChange& change) const;
  // Of the guest, of one that is not settled; null: it did not tell.
  const agent::ShareState* Use(const std::string& tag) const;
  // Why it cannot go now: who uses it.
  std::string InUse(const std::string& tag) const;
  // Why one that the file does not have any more stays for now; empty: it can go.
  std::string WhyStays(const std::string& tag) const;
  // What the machine mounts of those that do, once the changes are made.
  FolderChange Adopting(const google::protobuf::RepeatedPtrField<std::string>& changed) const;

 private:
  Way WayOfFolder(const Folder& folder, const FieldChange& change) const;
  Way Attaching(const Folder& folder) const;

  const Config& desired_;
  const DomainState& domain_;
  const Scene* scene_ = nullptr;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_ASPECTS_FOLDER_ROOM_H_
