#ifndef RUM_CONTROLLER_RECONCILE_LINKS_H_
#define RUM_CONTROLLER_RECONCILE_LINKS_H_

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent-api/client/guest_agent.h"
#include "controller/aspects/run_store.h"
#include "controller/decide/plan.h"
#include "controller/reconcile/observe.h"

namespace rum {

// How the parts of the world are reached: the real ones, or fakes in tests.
using HypervisorSource =
    std::function<absl::StatusOr<std::shared_ptr<Hypervisor>>(const std::string& uri)>;
using ListenerFactory = std::function<std::unique_ptr<ListenerSet>(GuestRoute route)>;
// A way for forwards past the agent's gRPC; goes before the agent does.
struct ForwardWay {
  std::shared_ptr<Carrier> carrier;
  std::shared_ptr<void> keeper;  // the carrier is closed when it goes
};
// `vsock_cid`: see DomainState. What it gives is without a carrier where threads or descriptors
// have run out: it is asked again.
using ForwardFactory = std::function<ForwardWay(ChannelOpener open, uint32_t vsock_cid)>;
// What a machine's guest is reached by.
struct GuestLink {
  std::unique_ptr<GuestAgent> agent;
  ForwardFactory forwards = nullptr;  // may be empty: all forwards go through the agent's gRPC
};
// `machine`: its name, for people.
using GuestFactory = std::function<GuestLink(const std::string& machine, ChannelOpener open,
                                             std::function<void()> on_change)>;

struct LinkSources {
  HypervisorSource hypervisor;
  GuestFactory guest;
  ListenerFactory listeners;
  std::shared_ptr<RunStore> runs;             // null: what scripts write is not kept
  std::function<absl::Time()> now = nullptr;  // of reconcile.restart; empty: absl::Now
};

// One machine's ends of the world: libvirt, the agent while the domain runs, the host's listeners.
// Thread-safe: a status is asked for while a reconcile is at work.
class MachineLinks {
 public:
  // `on_change` is called when the agent comes or goes; it must not block.
  MachineLinks(MachineIdentity machine, LinkSources sources, std::function<void()> on_change);
  ~MachineLinks();
  MachineLinks(const MachineLinks&) = delete;
  MachineLinks& operator=(const MachineLinks&) = delete;

  const MachineIdentity& machine() const { return *machine_; }
  // Makes machine() this from now on: the file is elsewhere. Whoever looks at an earlier one goes
  // on.
  void Become(const MachineIdentity& machine);
  absl::StatusOr<std::shared_ptr<Hypervisor>> hypervisor(const std::string& uri) const;

  // What is so now. Opens the link to the agent of a running domain, drops that of one that is off.
  // Waits up to `patience` for the agent to answer; without one that is no error.
  absl::StatusOr<Observed> Look(const Config& desired, const MachineRecord& record,
                                absl::Duration patience);

  RunStore* runs() const { return sources_.runs.get(); }
  const std::function<absl::Time()>& now() const { return sources_.now; }
  std::shared_ptr<GuestAgent> agent() const;     // null: the domain is not known to run
  std::shared_ptr<ListenerSet> OpenListeners();  // made when there is none
  bool has_listeners() const { return listeners() != nullptr; }
  std::shared_ptr<ListenerSet> listeners() const;  // null: none were made
  std::vector<ForwardState> Forwards() const;
  void Close();  // listeners and agent: the machine goes down
  void Stop();   // every wait ends soon; for the end of the process
  // While one lives, what is under way ends at its next step, and waits end: somebody wants the
  // machine off and waits for his turn.
  class Interruption {
   public:
    explicit Interruption(MachineLinks* links) : links_(links) { ++links_->interruptions_; }
    ~Interruption() { --links_->interruptions_; }
    Interruption(const Interruption&) = delete;
    Interruption& operator=(const Interruption&) = delete;

   private:
    MachineLinks* const links_;
  };
  // While one lives, libvirt is asked to do it though the machine is another user's.
  class Taking {
   public:
    explicit Taking(MachineLinks* links);
    ~Taking();
    Taking(const Taking&) = delete;
    Taking& operator=(const Taking&) = delete;

   private:
    MachineLinks* const links_;
  };
  bool interrupted() const { return interruptions_ > 0; }
  bool stopping() const { return stopping_ || interrupted(); }

 private:
  struct AgentSlot;

  void FitAgent(const DomainState& domain, const std::shared_ptr<Hypervisor>& hypervisor);
  absl::StatusOr<Observed> LookOnce(const Config& desired, const MachineRecord& record);

  std::deque<MachineIdentity> machines_;  // all that machine() was: it gives references
  std::atomic<const MachineIdentity*> machine_;
  const LinkSources sources_;
  const std::function<void()> on_change_;
  const std::shared_ptr<AgentSlot> slot_;  // shared with dialers, which may outlive this
  mutable std::mutex mutex_;
  std::shared_ptr<ListenerSet> listeners_;
  UsualQuestion usual_;
  std::atomic<bool> agent_was_here_ = false;
  std::atomic<bool> stopping_ = false;
  std::atomic<int> interruptions_ = 0;
};

// The libvirt that has the machine's domain: the one that it was made in, whatever file and
// environment say now. Empty: the controller's default.
std::string UriOf(const Config& desired, const MachineRecord& record);

}  // namespace rum

#endif  // RUM_CONTROLLER_RECONCILE_LINKS_H_
