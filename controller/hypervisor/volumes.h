#ifndef RUM_CONTROLLER_HYPERVISOR_VOLUMES_H_
#define RUM_CONTROLLER_HYPERVISOR_VOLUMES_H_

#include <libvirt/libvirt.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "controller/hypervisor/connection.h"
#include "controller/hypervisor/libvirt_handles.h"
#include "controller/hypervisor/uses.h"

namespace rum {

// A file that a new volume is a layer over.
struct Backing {
  std::string path;
  std::string format;
};

// What a volume is, as libvirt says.
struct VolumeFacts {
  std::string name;
  std::string path;
  uint64_t capacity = 0;     // bytes; 0: libvirt cannot say
  std::string backing_path;  // empty: none
  std::string changed;       // seconds since 1970, to order volumes by
};

// Gives the next bytes of an upload, at most `max`; none left: an empty string.
using ByteSource = std::function<absl::StatusOr<std::string>(size_t max)>;

// rum's pool of one libvirt: a folder of files in which libvirt, here or far away, keeps disks and
// seeds.
class Volumes {
 public:
  // Makes and starts the pool where need be. With `make` false, NotFound when there is none.
  static absl::StatusOr<Volumes> Open(ConnectionHandle connection, const std::string& folder,
                                      bool make);

  absl::StatusOr<std::vector<VolumeFacts>> List();
  // Returns where a volume of that name is, or will be.
  std::string PathOf(const std::string& name) const;
  // Asks who stands on files of that libvirt.
  Uses AskUses(bool remote) { return rum::AskUses(connection_.get(), remote); }
  // The path of the new volume; AlreadyExists.
  absl::StatusOr<std::string> Create(const std::string& name, const std::string& format,
                                     uint64_t capacity, const std::optional<Backing>& backing);
  // A new qcow2 volume with the contents of another one, grown to `capacity`; its contents are
  // complete when it is there.
  absl::StatusOr<std::string> CreateFrom(const std::string& name, uint64_t capacity,
                                         const std::string& source);
  absl::Status Upload(const std::string& name, const ByteSource& source);
  absl::Status Grow(const std::string& name, uint64_t capacity);
  absl::Status Delete(const std::string& name);
  // Grows a file that need not be a volume of this pool.
  absl::Status GrowFile(const std::string& path, uint64_t capacity);
  // True when the pool was rum's own, empty, and is gone now.
  absl::StatusOr<bool> RemovePoolIfEmpty();

 private:
  Volumes(ConnectionHandle connection, PoolHandle pool, std::string folder);
  absl::StatusOr<VolumeHandle> Find(const std::string& name);

  ConnectionHandle connection_;
  PoolHandle pool_;
  std::string folder_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_VOLUMES_H_
