#ifndef RUM_CONTROLLER_FLEET_MACHINE_KEY_H_
#define RUM_CONTROLLER_FLEET_MACHINE_KEY_H_

#include <string>

#include "absl/status/statusor.h"
#include "state/identity.h"

namespace rum {

// The ed25519 ssh keys that rum makes, one a machine, without a passphrase: FOLDER/ID/id_ed25519
// and id_ed25519.pub. A key is there as a whole or not at all, and never readable by others.
class MachineKeys {
 public:
  // `folder`: made, as 0700, with the first key; empty: machines get no keys.
  explicit MachineKeys(std::string folder) : folder_(std::move(folder)) {}

  // The line for authorized_keys of the machine's key, which is made when there is none, by
  // ssh-keygen(1). "" without a folder.
  absl::StatusOr<std::string> Make(const MachineIdentity& machine) const;
  // The same of a key that is there; "" when there is none.
  std::string Find(const MachineIdentity& machine) const;
  // True: there was one.
  absl::StatusOr<bool> Remove(const MachineIdentity& machine) const;
  std::string PrivatePath(const MachineIdentity& machine) const;

 private:
  // "" when there is none.
  absl::StatusOr<std::string> Read(const MachineIdentity& machine) const;

  std::string folder_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_FLEET_MACHINE_KEY_H_
