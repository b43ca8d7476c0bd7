#include "controller/fleet/machine_access.h"

#include <chrono>
#include <future>
#include <thread>
#include <utility>

#include "absl/time/clock.h"
#include "agent-api/steady_now.h"
#include "agent-api/threads.h"
#include "controller/aspects/standing.h"
#include "controller/base/console_text.h"

namespace rum {
namespace {

constexpr size_t kMostOfConsole = 1 << 20;
constexpr absl::Duration kAgentPatience = absl::Seconds(10);
constexpr std::chrono::seconds kLibvirtPatience(1);
// More for one that is being replaced, which a busy machine does not do in a moment.
constexpr absl::Duration kArrivalPatience = absl::Seconds(90);

}  // namespace

absl::Status MachineAccess::Stands() const {
  const absl::StatusOr<std::shared_ptr<Hypervisor>> hypervisor = Libvirt();
  if (!hypervisor.ok()) return absl::OkStatus();  // the agent may answer all the same
  const auto told = std::make_shared<std::promise<absl::StatusOr<DomainState>>>();
  std::future<absl::StatusOr<DomainState>> answer = told->get_future();
  absl::StatusOr<std::thread> asking =
      StartThread([told, hypervisor = *hypervisor, machine = links_->machine()] {
        told->set_value(hypervisor->Inspect(machine));
      });
  if (!asking.ok()) return asking.status();
  asking->detach();
  if (answer.wait_for(kLibvirtPatience) != std::future_status::ready) return absl::OkStatus();
  const absl::StatusOr<DomainState> domain = answer.get();
  if (!domain.ok() || (domain->running && !domain->paused)) return absl::OkStatus();
  Observed observed;
  observed.domain = *domain;
  return absl::UnavailableError(StandingText(links_->machine().name, StandingOf(observed)));
}

absl::StatusOr<GuestAccess> MachineAccess::Guest() {
  std::shared_ptr<GuestAgent> agent = links_->agent();
  if (agent != nullptr) {
    if (absl::Status stands = Stands(); !stands.ok()) return stands;
  } else {
    const Wanted wanted = file_->Read();
    if (!wanted.blocked.empty()) return absl::FailedPreconditionError(wanted.blocked);
    absl::StatusOr<Observed> observed =
        links_->Look(wanted.config, record_->Get(), absl::ZeroDuration());
    if (!observed.ok()) return observed.status();
    agent = links_->agent();
    if (agent == nullptr || observed->domain.paused) {
      return absl::UnavailableError(StandingText(links_->machine().name, StandingOf(*observed)));
    }
  }
  absl::Status there = agent->WaitConnected(kAgentPatience);
  const absl::Time limit = SteadyNow() + kArrivalPatience;
  while (!there.ok() && agent->Arriving() && SteadyNow() < limit) {
    there = agent->WaitConnected(absl::Seconds(1));
  }
  if (!there.ok()) {
    if (absl::Status stands = Stands(); !stands.ok()) return stands;
    return absl::UnavailableError(there.message());
  }
  GuestAccess access;
  access.agent = agent;
  const MachineRecord record = record_->Get();
  for (const Mount& mount : record.applied().mounts()) {
    if (mount.default_()) access.folder = mount.target();
    access.mounts.push_back(mount);
  }
  return access;
}

absl::StatusOr<std::shared_ptr<Hypervisor>> MachineAccess::Libvirt() const {
  const MachineRecord record = record_->Get();
  return links_->hypervisor(UriOf(record.desired(), record));
}

absl::StatusOr<int> MachineAccess::Console(bool force) const {
  const absl::StatusOr<std::shared_ptr<Hypervisor>> hypervisor = Libvirt();
  if (!hypervisor.ok()) return hypervisor.status();
  const absl::StatusOr<int> console = (*hypervisor)->OpenConsole(links_->machine(), force);
  if (!absl::IsUnavailable(console.status())) return console;
  const absl::Status stands = Stands();  // says more of one that is off
  return stands.ok() ? console : stands;
}

absl::StatusOr<std::string> MachineAccess::ConsoleEnd(size_t lines) const {
  const absl::StatusOr<std::shared_ptr<Hypervisor>> hypervisor = Libvirt();
  if (!hypervisor.ok()) return hypervisor.status();
  const absl::StatusOr<std::string> said =
      (*hypervisor)->ConsoleLog(links_->machine(), kMostOfConsole);
  return said.ok() ? LastConsoleLines(*said, lines) : said;
}

absl::StatusOr<SshAccess> MachineAccess::SshToGuest() {
  absl::StatusOr<GuestAccess> guest = Guest();
  if (!guest.ok()) return guest.status();
  return SshAccess{*std::move(guest), links_->machine(), file_->ReadSsh(),
                   keys_.PrivatePath(links_->machine())};
}

}  // namespace rum
