#ifndef RUM_CONTROLLER_FLEET_FLEET_H_
#define RUM_CONTROLLER_FLEET_FLEET_H_

#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "controller/fleet/file_watch.h"
#include "controller/fleet/machine.h"
#include "controller/fleet/metrics.h"
#include "controller/fleet/run_loop.h"
#include "controller/hypervisor/base_images.h"

namespace rum {

// Connects to one libvirt; see ConnectLibvirt.
using HypervisorFactory = std::function<absl::StatusOr<std::unique_ptr<Hypervisor>>(
    const std::string& uri, std::function<void(const std::string& domain)> on_event)>;

// What a controller stands on: the real things, or fakes in tests.
struct ControllerParts {
  HypervisorFactory hypervisor;
  GuestFactory guest;
  ListenerFactory listeners;
  std::unique_ptr<StateStore> store;
  std::string key_folder;  // see MachineKeys
  std::string run_folder;  // see RunStore
  RunLoopOptions loop;
  std::function<absl::Time()> now;  // of reconcile.restart; empty: absl::Now
  // How often a machine is looked at whose file or guest cannot tell of a change.
  absl::Duration poll = absl::Seconds(10);
  // Counts for machines that say none and were made by a build that did not record it; empty:
  // libvirt's own.
  std::string default_uri;
};

// One machine in the list of all.
struct ListedMachine {
  MachineRecord record;  // of one that cannot be read: the id alone
  bool file_gone = false;
  std::string unknown;  // why there is no status; empty: there is one
  MachineStatus status;
};

// What one machine uses of the host.
struct MachineUsage {
  MachineIdentity machine;
  std::string unknown;         // why nothing is known; empty: it is
  std::optional<Usage> usage;  // nothing: it does not run
  absl::Time at;               // when libvirt said so
  std::vector<ForwardState> forwards;
};

// All machines of one user, by the paths of their files as their records have them, and of machines
// that are not made yet as IdentityOf() makes them. Thread-safe; every call blocks until it is
// done. Looks after the machines that are wanted up: their ports, agent links, files and drift.
// What is asked of a machine that was not made fails where a machine whose file is gone may be
// meant, and says so; Status tells it as a note.
class Controller {
 public:
  explicit Controller(ControllerParts parts);
  ~Controller();
  Controller(const Controller&) = delete;
  Controller& operator=(const Controller&) = delete;

  // Takes up what the records say. An unreadable record is reported and does not stop the others.
  absl::Status Start();
  // Ends waits and background work; calls that run scripts end with them.
  void Stop();

  ApplyOutcome Apply(const std::string& config_path, const ApplyOptions& options,
                     const EventSink& sink);
  // `default_uri`: see Machine::Status.
  absl::StatusOr<MachineStatus> Status(const std::string& config_path,
                                       const std::string* default_uri = nullptr);
  // All machines that were made, by name. A libvirt that does not answer holds it up for `patience`
  // at most; `brief`: no libvirt is asked.
  std::vector<ListedMachine> List(bool brief, absl::Duration patience = absl::Seconds(5));
  // Looks at the one of a path, made or not.
  absl::StatusOr<ListedMachine> ListOne(const std::string& config_path);
  // Takes over the machine `id`, whose file is gone, or without one the only one that looks like
  // the file at `config_path`: that is its file from now on. Returns where it was before.
  absl::StatusOr<std::string> Adopt(const std::string& config_path, const std::string& id);
  // See Machine::Watch. The machine is looked after meanwhile, as far as looking goes.
  absl::Status Watch(const std::string& config_path, const Machine::WatchOptions& options,
                     const std::function<bool(const StatusFeed::News&)>& tell,
                     const std::function<bool()>& gone);
  absl::StatusOr<Machine::TrustState> Trust(const std::string& config_path,
                                            const Machine::TrustChange& change);
  ApplyOutcome Down(const std::string& config_path, const EventSink& sink, bool force = false);
  ApplyOutcome Destroy(const std::string& config_path, const EventSink& sink, bool force = false);
  // The machine of a path, for what is asked of it alone: its access(), its archive(). Fails where
  // there is none and another one may be meant.
  absl::StatusOr<std::shared_ptr<Machine>> FindMade(const std::string& config_path);
  // Asks for that machine, or for all that were made, by name: one question to each libvirt, all at
  // the same time. One that does not answer within `patience` holds up no other.
  absl::StatusOr<std::vector<MachineUsage>> Usages(const std::string& config_path,
                                                   absl::Duration patience = absl::Seconds(5));
  // The user's base images; see ImageCache. What a disk stands on, in any libvirt that a machine of
  // the user's is in, is in use; when one cannot be asked, nothing is deleted.
  absl::StatusOr<std::vector<CachedImage>> Images();
  absl::StatusOr<FetchedImage> PullImage(const Image& image, const Onlooker& onlooker);
  absl::Status DeleteImage(const std::string& name);
  absl::StatusOr<std::vector<CachedImage>> PruneImages();
  int machines() const;  // wanted up
  std::vector<prometheus::MetricFamily> CollectMetrics();
  // Every machine that was to be looked at has been, and none waits to be tried again.
  bool Settled();

 private:
  struct Connection {
    std::mutex mutex;  // of one libvirt alone: a slow one holds up no other
    std::shared_ptr<Hypervisor> hypervisor;
    std::set<std::string> machines;  // that have asked for it; their ids
  };

  absl::StatusOr<std::set<std::string>> ImagesInUse();
  using MachineOr = absl::StatusOr<std::shared_ptr<Machine>>;

  std::map<std::string, std::shared_ptr<Machine>> Machines() const;
  MachineOr Find(const std::string& config_path);
  std::shared_ptr<Machine> Add(MachineIdentity identity);  // needs the lock
  absl::Status MayConnect(const std::string& uri) const;
  std::shared_ptr<Machine> Known(const std::string& id) const;
  std::shared_ptr<Machine> At(const std::string& config_path) const;
  // Those whose file is gone and may be the one at `config_path` now.
  std::vector<std::shared_ptr<Machine>> MovedTo(const std::string& config_path) const;
  // What a person is told of those; empty: there are none, or the machine was made.
  std::string WhoIsMeant(const Machine& machine) const;
  absl::Status MoveTo(const std::shared_ptr<Machine>& machine, const std::string& config_path);
  absl::Status FollowLink(const std::shared_ptr<Machine>& machine, const std::string& config_path);
  void WakeFile(const std::string& config_path);
  // `machine`: the id of who asks, or empty.
  absl::StatusOr<std::shared_ptr<Hypervisor>> Connect(const std::string& uri,
                                                      const std::string& machine);
  void WakeDomain(const std::string& domain);
  void WakeAll(const std::string& uri);
  RunEnd RunKey(const std::string& id);
  void LookAfter(const std::shared_ptr<Machine>& machine);

  ControllerParts parts_;
  BaseImages images_;
  const std::shared_ptr<RunStore> runs_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Connection>> connections_;  // by URI
  std::map<std::string, std::shared_ptr<Machine>> machines_;        // by id
  std::map<std::string, std::string> by_path_;                      // to the id
  std::map<std::string, std::string> by_domain_;   // domain name, and UUID, to the id
  std::map<std::string, std::string> unreadable_;  // records, by id, and why
  std::set<std::string> own_uris_;  // that the environment of whoever said `up` named
  bool stopped_ = false;
  Metrics metrics_;
  std::unique_ptr<RunLoop> loop_;
  std::unique_ptr<FileWatch> watch_;
  class Looks;
  const std::unique_ptr<Looks> looks_;
  struct UsageAnswer {
    absl::StatusOr<std::map<std::string, Usage>> usages;
    absl::Time at;
  };
  using UsageLook = std::shared_future<UsageAnswer>;
  UsageLook LookAtUsages(const std::string& uri, const std::shared_ptr<Hypervisor>& hypervisor,
                         const std::vector<MachineIdentity>& machines);
  std::mutex usage_mutex_;
  std::map<std::string, UsageLook> usage_looks_;  // the last one, by URI
};

}  // namespace rum

#endif  // RUM_CONTROLLER_FLEET_FLEET_H_
