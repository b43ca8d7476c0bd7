#include "controller/reconcile/links.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent-api/steady_now.h"
#include "controller/reconcile/observe.h"

namespace rum {

struct MachineLinks::AgentSlot {
  std::mutex mutex;
  std::shared_ptr<GuestAgent> agent;
  ForwardFactory make_forwards;  // of that agent
  ForwardWay forwards;
  uint32_t vsock_cid = 0;  // that they were made for

  std::shared_ptr<GuestAgent> Get() {
    std::lock_guard<std::mutex> lock(mutex);
    return agent;
  }
  std::shared_ptr<Carrier> carrier() {
    std::lock_guard<std::mutex> lock(mutex);
    return forwards.carrier;
  }
};

MachineLinks::MachineLinks(MachineIdentity machine, LinkSources sources,
                           std::function<void()> on_change)
    : machines_{std::move(machine)},
      machine_(&machines_.front()),
      sources_(std::move(sources)),
      on_change_(std::move(on_change)),
      slot_(std::make_shared<AgentSlot>()) {}

MachineLinks::~MachineLinks() { Close(); }

void MachineLinks::Become(const MachineIdentity& machine) {
  std::lock_guard<std::mutex> lock(mutex_);
  auto known = std::find_if(machines_.begin(), machines_.end(), [&](const MachineIdentity& one) {
    return one.config_path == machine.config_path && one.of_anybody == machine.of_anybody;
  });
  if (known == machines_.end()) known = machines_.insert(machines_.end(), machine);
  machine_ = &*known;
}

MachineLinks::Taking::Taking(MachineLinks* links) : links_(links) {
  MachineIdentity machine = links_->machine();
  machine.of_anybody = true;
  links_->Become(machine);
}

MachineLinks::Taking::~Taking() {
  MachineIdentity machine = links_->machine();
  machine.of_anybody = false;
  links_->Become(machine);
}

absl::StatusOr<std::shared_ptr<Hypervisor>> MachineLinks::hypervisor(const std::string& uri) const {
  absl::StatusOr<std::shared_ptr<Hypervisor>> found = sources_.hypervisor(uri);
  if (found.ok()) return found;
  return OfLibvirt(found.status());
}

std::shared_ptr<GuestAgent> MachineLinks::agent() const { return slot_->Get(); }

std::shared_ptr<ListenerSet> MachineLinks::listeners() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return listeners_;
}

std::vector<ForwardState> MachineLinks::Forwards() const {
  const std::shared_ptr<ListenerSet> listeners = this->listeners();
  return listeners == nullptr ? std::vector<ForwardState>() : listeners->Observe();
}

std::shared_ptr<ListenerSet> MachineLinks::OpenListeners() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (listeners_ == nullptr) {
    GuestRoute route;
    route.machine = absl::StrCat("machine ", machine().name, " (", machine().config_path, ")");
    route.on_change = on_change_;
    route.carrier = [slot = slot_] { return slot->carrier(); };
    // With the lock, and not with a pointer of its own: the agent's end waits for the io thread.
    route.dial = [slot = slot_](uint16_t port, std::function<void(absl::StatusOr<int>)> done) {
      std::lock_guard<std::mutex> lock(slot->mutex);
      if (slot->agent == nullptr) return done(absl::UnavailableError("the machine is off"));
      slot->agent->Dial(port, std::move(done));
    };
    listeners_ = sources_.listeners(std::move(route));
  }
  return listeners_;
}

void MachineLinks::Close() {
  std::shared_ptr<ListenerSet> listeners;
  std::shared_ptr<GuestAgent> agent;
  ForwardWay forwards;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    listeners.swap(listeners_);
  }
  {
    std::lock_guard<std::mutex> lock(slot_->mutex);
    agent.swap(slot_->agent);
    std::swap(forwards, slot_->forwards);
  }
  agent_was_here_ = false;
  // Their threads end here, outside the locks: listeners first, for they dial through the agent.
  listeners.reset();
  forwards = {};
  agent.reset();
}

void MachineLinks::Stop() { stopping_ = true; }

void MachineLinks::FitAgent(const DomainState& domain,
                            const std::shared_ptr<Hypervisor>& hypervisor) {
  std::shared_ptr<GuestAgent> dropped;
  ForwardWay dropped_way;
  std::lock_guard<std::mutex> lock(slot_->mutex);
  if (!domain.running) {
    dropped.swap(slot_->agent);
    std::swap(dropped_way, slot_->forwards);
    agent_was_here_ = false;
    return;
  }
  const bool fresh = slot_->agent == nullptr;
  if (fresh) {
    GuestLink link = sources_.guest(
        machine().name,
        [hypervisor, machine = machine()] {
          return hypervisor->OpenChannel(machine, GuestChannel::kAgent);
        },
        on_change_);
    slot_->agent = std::move(link.agent);
    slot_->make_forwards = std::move(link.forwards);
  }
  // A restart that nobody saw may have given the domain another one.
  const bool other = slot_->vsock_cid != domain.vsock_cid || slot_->forwards.carrier == nullptr;
  if (slot_->make_forwards && (fresh || other)) {
    std::swap(dropped_way, slot_->forwards);
    slot_->vsock_cid = domain.vsock_cid;
    slot_->forwards = slot_->make_forwards(
        [hypervisor, machine = machine()] {
          return hypervisor->OpenChannel(machine, GuestChannel::kForward);
        },
        domain.vsock_cid);
  }
}

absl::StatusOr<Observed> MachineLinks::LookOnce(const Config& desired,
                                                const MachineRecord& record) {
  absl::StatusOr<std::shared_ptr<Hypervisor>> hypervisor = this->hypervisor(UriOf(desired, record));
  if (!hypervisor.ok()) return hypervisor.status();
  std::shared_ptr<ListenerSet> listeners;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    listeners = listeners_;
  }
  absl::StatusOr<Observed> observed =
      Observe(machine(), **hypervisor, agent().get(), listeners.get(), desired, record, &usual_);
  if (!observed.ok()) return observed;
  FitAgent(observed->domain, *hypervisor);
  if (observed->guest.has_value()) agent_was_here_ = true;
  observed->agent_was_here = agent_was_here_;
  return observed;
}

absl::StatusOr<Observed> MachineLinks::Look(const Config& desired, const MachineRecord& record,
                                            absl::Duration patience) {
  const absl::Time deadline = SteadyNow() + patience;
  while (true) {
    absl::StatusOr<Observed> observed = LookOnce(desired, record);
    if (!observed.ok() || observed->guest.has_value() || !observed->domain.running) return observed;
    if (observed->domain.paused) return observed;           // until somebody goes on with it
    if (!observed->guest_refused.empty()) return observed;  // it would say the same again
    const absl::Duration left = deadline - SteadyNow();
    if (left <= absl::ZeroDuration() || stopping()) return observed;
    std::shared_ptr<GuestAgent> agent = this->agent();
    // In slices, so that a domain that dies meanwhile is noticed.
    const absl::Duration slice = std::min(left, absl::Seconds(1));
    if (agent == nullptr || !agent->WaitConnected(slice).ok()) continue;
    // A session without an answer: not to be asked in a spin.
    observed = LookOnce(desired, record);
    if (!observed.ok() || observed->guest.has_value()) return observed;
    absl::SleepFor(std::min(left, absl::Milliseconds(50)));
  }
}

std::string UriOf(const Config& desired, const MachineRecord& record) {
  // An image in `applied` is a domain that was seen; builds before this kept no other trace of
  // where.
  if (!record.applied().has_image()) {
    const std::string& said = desired.advanced().libvirt_uri();
    return said.empty() ? record.libvirt_uri() : said;
  }
  return record.libvirt_uri().empty() ? record.applied().advanced().libvirt_uri()
                                      : record.libvirt_uri();
}

}  // namespace rum
