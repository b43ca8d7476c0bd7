#ifndef RUM_STATE_IDENTITY_H_
#define RUM_STATE_IDENTITY_H_

#include <string>

#include "absl/status/statusor.h"

namespace rum {

// Who a machine is. Name and id are born with it and live in its record from then on; the path is
// only where its file is now.
struct MachineIdentity {
  std::string config_path;  // absolute: the canonical folder, and the file's own name in it
  std::string
      name;  // "dev" for dev.rum.toml, "my" for my.toml; for rum.toml the folder's name, sanitised
  std::string id;           // 12 hex digits
  bool of_anybody = false;  // --force: also the machine of another user of the same libvirt
  std::string domain_name() const { return "rum-" + name + "-" + id; }
};

// The identity of a machine that is born with the file at `path`, which may be relative. The id is
// made of the canonical folder and the file's own name, so that equal names in two projects never
// meet: a file that is a link is read through, but two links to one file are two machines, and a
// link that is exchanged stays one. The file itself may be gone; NotFound: its folder is.
absl::StatusOr<MachineIdentity> IdentityOf(const std::string& path);

// The id that a path gives; `nth` > 0: where another machine has the ones before, as its file was
// here once.
std::string NewMachineId(const std::string& config_path, int nth = 0);

// The id under which the build before this rule knew a file that is a link; "" when it is none.
std::string IdThroughLink(const std::string& config_path);

// Lower-case hex SHA-256.
std::string Sha256Hex(const std::string& bytes);

// $RUM_STATE_DIR, else $XDG_STATE_HOME/rum, else ~/.local/state/rum: records, logs. Not created.
std::string StateDir();
// $RUM_RUNTIME_DIR, else $XDG_RUNTIME_DIR/rum, else StateDir()/run: sockets and locks. Not created.
std::string RuntimeDir();
// $RUM_CACHE_DIR, else $XDG_CACHE_HOME/rum, else ~/.cache/rum: downloads. Not created.
std::string CacheDir();
// $RUM_DATA_DIR, else $XDG_DATA_HOME/rum, else ~/.local/share/rum: disks, seeds. Not created.
std::string DataDir();

}  // namespace rum

#endif  // RUM_STATE_IDENTITY_H_
