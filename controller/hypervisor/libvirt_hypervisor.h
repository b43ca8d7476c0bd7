#ifndef RUM_CONTROLLER_HYPERVISOR_LIBVIRT_HYPERVISOR_H_
#define RUM_CONTROLLER_HYPERVISOR_LIBVIRT_HYPERVISOR_H_

#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "controller/hypervisor/base_images.h"
#include "controller/hypervisor/connection.h"
#include "controller/hypervisor/disks.h"
#include "controller/hypervisor/domain_xml.h"
#include "controller/hypervisor/hypervisor.h"
#include "controller/hypervisor/ledger.h"
#include "controller/hypervisor/libvirt_handles.h"
#include "controller/hypervisor/named_paths.h"
#include "controller/hypervisor/networks.h"

namespace rum {

// A domain and both of its definitions.
struct FoundDomain {
  DomainHandle domain;  // null: there is none
  std::string name;     // as libvirt has it now
  bool running = false;
  DomainCause cause = DomainCause::kNone;
  std::optional<DomainFacts> persistent;
  std::optional<DomainFacts> live;
  std::map<std::string, LiveDisk> live_disks;
  std::optional<PlugPorts> ports;    // of what runs
  std::optional<DomainFacts> saved;  // by `virsh managedsave`: what its next start goes on with

  std::set<std::string> Paths() const {
    std::set<std::string> paths;
    for (const auto* facts : {&persistent, &live, &saved}) {
      if (!facts->has_value()) continue;
      paths.insert((*facts)->root_path);
      paths.insert((*facts)->seed_path);
      for (const auto& [name, path] : (*facts)->drive_paths) paths.insert(path);
    }
    return paths;
  }
  std::set<std::string> NetworkNames() const {
    std::set<std::string> names;
    for (const auto* facts : {&persistent, &live, &saved}) {
      if (facts->has_value()) names.insert((*facts)->networks.begin(), (*facts)->networks.end());
    }
    return names;
  }
};

// What ConnectLibvirt() gives. Making disks and definitions is in libvirt_define.cc, looking,
// starting and stopping in libvirt_hypervisor.cc, what becomes of what runs in libvirt_resources.cc
// (vCPUs and memory), libvirt_live_disks.cc, libvirt_live_cards.cc and libvirt_live_folders.cc,
// what people look at in libvirt_views.cc.
class LibvirtHypervisor : public Hypervisor {
 public:
  LibvirtHypervisor(const std::string& uri, std::string agent_binary, DiskSource disks,
                    std::function<void(const std::string&)> on_event)
      : connection_(uri, std::move(on_event)),
        disks_(std::move(disks)),
        agent_binary_(std::move(agent_binary)) {}

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
  absl::StatusOr<FoundDomain> Find(const ConnectionHandle& connection,
                                   const MachineIdentity& machine);
  absl::StatusOr<DomainHandle> Lookup(const ConnectionHandle& connection,
                                      const MachineIdentity& machine);
  absl::StatusOr<bool> NeedsImage(const ConnectionHandle& connection,
                                  const MachineIdentity& machine, Fresh fresh);
  absl::Status DefineNow(const ConnectionHandle& connection, const MachineIdentity& machine,
                         const Config& config, Fresh fresh, const std::string& image);
  absl::Status Learn(const FoundDomain& found, const MachineIdentity& machine, Ledger* ledger);
  absl::Status LookAtDisks(const MachineIdentity& machine, const FoundDomain& found, Ledger* ledger,
                           PresentDisks* present);
  absl::StatusOr<bool> DefaultIsToStart(Networks* networks, const Config& config,
                                        const FoundDomain& found);
  absl::Status WriteDefinition(const ConnectionHandle& connection, const MachineIdentity& machine,
                               const Config& config, const DiskSet& disks, const FoundDomain& found,
                               Ledger* ledger);
  void RemoveUnused(const ConnectionHandle& connection, const MachineIdentity& machine, bool drives,
                    Disks* disks);
  absl::Status ChangeDiskNow(const ConnectionHandle& connection, const MachineIdentity& machine,
                             const DiskChange& change);
  absl::Status ChangeCardNow(const ConnectionHandle& connection, const MachineIdentity& machine,
                             const CardChange& change);
  absl::Status PlugCard(const ConnectionHandle& connection, const MachineIdentity& machine,
                        const FoundDomain& found, const std::string& card);
  absl::Status ChangeFolderNow(const MachineIdentity& machine, const FolderChange& change);
  Sharing SharingOf(const FoundDomain& found);
  absl::StatusOr<bool> GoOn(const FoundDomain& found);
  void MakeConsoleFolder(const FoundDomain& found);
  void RemoveConsoleLog(const FoundDomain& found, const MachineIdentity& machine);
  absl::Status StartNow(const ConnectionHandle& connection, const MachineIdentity& machine);
  absl::Status StopNow(const ConnectionHandle& connection, const MachineIdentity& machine,
                       absl::Duration grace);
  absl::StatusOr<Removal> RemoveNow(const ConnectionHandle& connection,
                                    const MachineIdentity& machine);
  void RemoveThings(const ConnectionHandle& connection, const MachineIdentity& machine,
                    bool started_default, Disks* disks, Removal* removal);
  std::string ImageDrift(const DomainFacts& facts);
  absl::StatusOr<FoundDomain> FindRunning(const MachineIdentity& machine);
  absl::Status PlugCpusNow(const MachineIdentity& machine, uint32_t cpus);
  absl::StatusOr<Room> AskForMemory(const MachineIdentity& machine, uint64_t memory_mb);
  // libvirt's test driver refuses most flags.
  bool IsTest() { return connection_.facts().kind == ConnectionKind::kTest; }

  Connection connection_;
  const DiskSource disks_;
  BaseImages images_;
  const std::string agent_binary_;
  std::mutex changing_;  // disks and definitions are changed by one call at a time
};

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_LIBVIRT_HYPERVISOR_H_
