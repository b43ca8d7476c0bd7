#ifndef RUM_TESTS_CONTROLLER_FAKE_WORLD_H_
#define RUM_TESTS_CONTROLLER_FAKE_WORLD_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "controller/fleet/fleet.h"
#include "controller/fleet/machine.h"
#include "tests/fakes/guest/fake_guest_agent.h"
#include "tests/fakes/hypervisor/fake_hypervisor.h"
#include "tests/fakes/listeners/fake_listener_set.h"
#include "tests/fakes/state/memory_state_store.h"

namespace rum {

// The parts of a rum.toml that tests change.
struct FileSpec {
  std::string image = "/images/debian.qcow2";
  std::string hostname = "dev";
  std::vector<std::string> groups = {"docker", "wheel"};
  std::vector<std::pair<int, int>> ports = {{8080, 80}, {5432, 5432}};
  std::string system = "system 1";
  std::string boot = "boot 1";
  int memory_mb = 1024;
  int cpus = 2;
  bool auto_reconcile = true;
  std::string more;  // further tables, as text
  std::string Toml() const;
};

// Everything that outlives a controller: libvirt, the guest, the host's ports, the disk with the
// records, the file.
class FakeWorld {
 public:
  FakeWorld();
  ~FakeWorld();

  FileSpec file;
  void Save() const;                             // writes `file`, by rename
  void SaveText(const std::string& text) const;  // writes anything

  std::unique_ptr<Machine> NewMachine();  // of a controller that has just started
  ControllerParts Parts();
  const std::string& folder() const { return folder_; }  // of the file; goes with this
  MachineRecord Record() const;
  // In place of a store in memory, for the machines that come.
  void KeepIn(std::unique_ptr<StateStore> store) { store_ = std::move(store); }
  // Desired, guest, listeners and definitions agree with `file`.
  void ExpectConverged() const;

  MachineIdentity identity;
  std::string key_folder;          // empty: machines get no keys
  std::shared_ptr<RunStore> runs;  // null: what scripts write is not kept
  std::shared_ptr<FakeHypervisor> hypervisor;
  std::shared_ptr<Hypervisor> libvirt;  // in its place, where one is given
  // In place of `guest`: a client of a real agent.
  std::function<std::unique_ptr<GuestAgent>(std::function<void()> on_change)> agent;
  // What controllers find at other URIs than the rest.
  std::map<std::string, std::shared_ptr<FakeHypervisor>> elsewhere;
  std::shared_ptr<FakeGuest> guest = std::make_shared<FakeGuest>();
  std::shared_ptr<FakeHost> host = std::make_shared<FakeHost>();
  std::shared_ptr<MemoryDisk> disk = std::make_shared<MemoryDisk>();
  std::function<void(const std::string& domain_name)> on_event;  // set by Parts()
  std::function<absl::Time()> now;                               // of reconcile.restart
  std::function<void(const std::string& uri)> on_connect;        // a libvirt is asked

 private:
  LinkSources Sources();

  std::string folder_;
  std::unique_ptr<StateStore> store_;
};

// What a person saw of an apply.
struct Seen {
  ApplyOutcome outcome;
  std::vector<std::string> done;
  std::vector<std::string> failed;
  std::vector<std::string> progress;
  std::string output;
};
Seen Apply(Machine& machine, const ApplyOptions& options = ApplyOptions());
inline ApplyOptions Up() {
  ApplyOptions options;
  options.up = true;
  return options;
}

// With the user's consent to all that the file asks.
ApplyOptions Trusting(Machine& machine, ApplyOptions options = ApplyOptions());

}  // namespace rum

#endif  // RUM_TESTS_CONTROLLER_FAKE_WORLD_H_
