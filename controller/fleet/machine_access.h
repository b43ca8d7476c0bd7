#ifndef RUM_CONTROLLER_FLEET_MACHINE_ACCESS_H_
#define RUM_CONTROLLER_FLEET_MACHINE_ACCESS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "controller/fleet/desired_file.h"
#include "controller/fleet/machine_key.h"
#include "controller/fleet/record_box.h"
#include "controller/reconcile/links.h"

namespace rum {

// Is for work inside a guest.
struct GuestAccess {
  std::shared_ptr<GuestAgent> agent;
  std::string folder;  // where commands start: the target of the default mount; empty: anywhere
  std::vector<Mount> mounts;  // folders of the host that it has, with their targets
};

// Is for an ssh to it.
struct SshAccess {
  GuestAccess guest;
  MachineIdentity machine;
  Ssh ssh;               // of the file as it is now
  std::string key_path;  // of the machine's own key
};

// The ways into a machine that people have: its agent, ssh, its console. Changes nothing, and waits
// for nobody who does. Thread-safe.
class MachineAccess {
 public:
  // What is pointed to outlives it.
  MachineAccess(MachineLinks* links, RecordBox* record, const DesiredFile* file, MachineKeys keys)
      : links_(links), record_(record), file_(file), keys_(std::move(keys)) {}

  // Returns the way into the running machine, with a session. Unavailable: it is off, or nobody
  // answers in it.
  absl::StatusOr<GuestAccess> Guest();
  absl::StatusOr<SshAccess> SshToGuest();
  // A socket to its serial console; the caller owns it. See Hypervisor.
  absl::StatusOr<int> Console(bool force) const;
  // The last lines of what that said.
  absl::StatusOr<std::string> ConsoleEnd(size_t lines) const;
  // The libvirt that the machine was made in.
  absl::StatusOr<std::shared_ptr<Hypervisor>> Libvirt() const;

 private:
  // Ok, or what keeps anybody from working in the guest now, by libvirt's word. Waits for that only
  // a moment, so that a libvirt that hangs holds up nobody.
  absl::Status Stands() const;

  MachineLinks* const links_;
  RecordBox* const record_;
  const DesiredFile* const file_;
  const MachineKeys keys_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_FLEET_MACHINE_ACCESS_H_
