#ifndef RUM_TESTS_FAKES_HYPERVISOR_FAKE_HYPERVISOR_H_
#define RUM_TESTS_FAKES_HYPERVISOR_FAKE_HYPERVISOR_H_

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "controller/hypervisor/hypervisor.h"

namespace rum {

// Machines in memory that obey the contract of Hypervisor; the suite in tests/controller/hypervisor
// holds it to that.
class FakeHypervisor : public Hypervisor {
 public:
  explicit FakeHypervisor(std::function<void(const std::string&)> on_event = nullptr);
  ~FakeHypervisor() override;

  // The next call of Hypervisor's methods returns `error` and changes nothing.
  void FailNext(absl::Status error);
  // All calls fail with `error`, until it is Ok again: libvirt is away.
  void FailAll(absl::Status error);
  // How this libvirt names itself.
  void SetUri(const std::string& uri);
  // Start() alone fails with `error`, and leaves what QEMU leaves then.
  void FailStarts(absl::Status error);
  // What OpenChannel() of a running machine gives for the agent; without it there is no channel,
  // and there is none for forwards.
  void SetChannel(std::function<absl::StatusOr<int>(const MachineIdentity&)> channel);
  // The end of a machine's console that a guest has; a machine that runs has one. -1: nobody opened
  // it yet.
  int GuestEndOfConsole(const MachineIdentity& machine);
  // What a machine's console said.
  void SetConsoleLog(const MachineIdentity& machine, const std::string& said);
  void SetUsage(const MachineIdentity& machine, const Usage& usage);
  // What a new root disk's image takes: Define() fails as it does.
  void SetFetch(std::function<absl::Status(const Onlooker&)> fetch);
  // Somebody else's hand: virsh edit, virsh destroy, a crash, virsh suspend.
  void EditPersistent(const MachineIdentity& machine, const std::function<void(Config*)>& edit);
  void PowerOff(const MachineIdentity& machine, DomainCause cause = DomainCause::kDestroyed);
  // The same of what runs: virsh setvcpus --live.
  void EditLive(const MachineIdentity& machine, const std::function<void(DomainState*)>& edit);
  // No guest's balloon leaves it less from now on, in MiB.
  void HoldMemory(uint64_t memory_mb);
  // The vCPUs and the MiB of memory that a guest finds; 0: it is off.
  std::pair<uint32_t, uint64_t> Given(const MachineIdentity& machine);
  void MakeSnapshot(const MachineIdentity& machine, const std::string& name);
  void Hold(const MachineIdentity& machine, DomainCause cause);  // one that is on; kNone: lets go
  void SetNetworks(const std::set<std::string>& of_others);
  // Of machines that start from now on; nullopt: as with libvirt's test driver.
  void SetPorts(std::optional<PlugPorts> ports);
  // The same; a machine that can be shared with while it runs has virtiofs.
  void SetSharing(Sharing sharing);
  // Root disks made for the machine so far: a reset makes one more.
  int DisksMade(const MachineIdentity& machine);
  // The names of the calls that change something, in order.
  std::vector<std::string> Changes();

  absl::StatusOr<DomainState> Inspect(const MachineIdentity& machine) override;
  absl::Status Define(const MachineIdentity& machine, const Config& config, Fresh fresh,
                      const Onlooker& onlooker) override;
  absl::StatusOr<std::set<std::string>> NetworksOfOthers(const MachineIdentity& machine) override;
  absl::StatusOr<std::set<std::string>> ImagesInUse() override;
  absl::Status ChangeDisk(const MachineIdentity& machine, const DiskChange& change) override;
  absl::Status ChangeCard(const MachineIdentity& machine, const CardChange& change) override;
  absl::Status ChangeFolder(const MachineIdentity& machine, const FolderChange& change) override;
  absl::Status Start(const MachineIdentity& machine) override;
  absl::Status PlugCpus(const MachineIdentity& machine, uint32_t cpus) override;
  absl::StatusOr<Room> ResizeMemory(const MachineIdentity& machine, uint64_t memory_mb) override;
  absl::Status Stop(const MachineIdentity& machine, absl::Duration grace) override;
  absl::StatusOr<Removal> Remove(const MachineIdentity& machine) override;
  absl::StatusOr<int> OpenChannel(const MachineIdentity& machine, GuestChannel channel) override;
  absl::StatusOr<int> OpenConsole(const MachineIdentity& machine, bool force) override;
  absl::StatusOr<std::string> ConsoleLog(const MachineIdentity& machine, size_t most) override;
  absl::StatusOr<std::map<std::string, Usage>> Usages(
      const std::vector<MachineIdentity>& machines) override;

 private:
  static void TurnOff(DomainCause cause, DomainState* domain);
  void Grow(const std::string& drive, DomainState* domain);
  absl::Status AttachFolder(const std::string& tag, DomainState* domain);
  void DetachFolder(const std::string& tag, DomainState* domain);
  void HangUpConsole(const std::string& domain);
  absl::Status TakeFailure();
  void Tell(const MachineIdentity& machine);  // without the lock

  const std::function<void(const std::string&)> on_event_;
  std::mutex mutex_;
  std::map<std::string, DomainState> domains_;  // by domain name
  std::map<std::string, int> disks_made_;
  std::map<std::string, int> consoles_;  // guests' ends, of those that somebody opened
  std::map<std::string, std::string> console_logs_;
  std::map<std::string, Usage> usages_;
  std::set<std::string> networks_;  // of others
  std::optional<PlugPorts> ports_ = PlugPorts{8, 14};
  Sharing sharing_ = Sharing::kLive;
  std::vector<std::string> changes_;
  uint64_t guest_holds_mb_ = 0;
  std::string uri_;
  absl::Status fail_next_;
  absl::Status fail_all_;
  absl::Status fail_starts_;
  std::function<absl::StatusOr<int>(const MachineIdentity&)> channel_;
  std::function<absl::Status(const Onlooker&)> fetch_;
};

}  // namespace rum

#endif  // RUM_TESTS_FAKES_HYPERVISOR_FAKE_HYPERVISOR_H_
