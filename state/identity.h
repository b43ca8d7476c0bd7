#ifndef RUM_STATE_IDENTITY_H_
#define RUM_STATE_IDENTITY_H_

#include <string>

#include "absl/status/statusor.h"

namespace rum {

// Who a machine is. The id comes from the canonical path of its file, so that equal names in two
// projects never meet.
struct MachineIdentity {
  std::string config_path;  // canonical, absolute
  std::string
      name;  // "dev" for dev.rum.toml, "my" for my.toml; for rum.toml the folder's name, sanitised
  std::string id;  // 12 hex digits of SHA-256(config_path)
  std::string domain_name() const { return "rum-" + name + "-" + id; }
};

// The identity for a file; `path` may be relative. The file itself may be gone, its folder must be
// there.
absl::StatusOr<MachineIdentity> IdentityOf(const std::string& path);

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
