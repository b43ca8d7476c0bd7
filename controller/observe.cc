#include "controller/observe.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/storage.h"

namespace rum {

absl::Status OfLibvirt(const absl::Status& status) {
  const std::string message(status.message());
  if (absl::StartsWith(message, "libvirt")) return status;
  return absl::Status(status.code(), absl::StrCat("libvirt: ", message));
}

absl::StatusOr<Observed> Observe(const MachineIdentity& machine, Hypervisor& hypervisor,
                                 GuestAgent* agent, ListenerSet* listeners, const Config& desired,
                                 const MachineRecord& record) {
  absl::StatusOr<DomainState> domain = hypervisor.Inspect(machine);
  if (absl::IsPermissionDenied(domain.status())) return domain.status();  // says it all
  if (!domain.ok()) return OfLibvirt(domain.status());
  Observed observed;
  observed.domain = *std::move(domain);
  if (listeners != nullptr) observed.forwards = listeners->Observe();
  // Who asks a guest that stands still waits for nothing.
  if (agent == nullptr || !observed.domain.running || StandsStill(observed.domain)) return observed;
  agent::ObserveRequest request;
  request.set_user(UserInGuest(desired, observed.domain));
  std::set<std::string> groups(desired.user().groups().begin(), desired.user().groups().end());
  groups.insert(record.owned_groups().begin(), record.owned_groups().end());
  for (const std::string& group : groups) request.add_groups(group);
  // Those that the plan looks for.
  for (const Config* config : {&desired, &record.applied()}) {
    for (const std::string& line : config->ssh().authorized_keys()) {
      request.add_authorized_keys(line);
    }
  }
  for (const agent::Volume& volume : VolumesOf(observed.domain)) *request.add_volumes() = volume;
  absl::StatusOr<agent::Observation> guest = agent->Observe(request);
  if (guest.ok()) {
    observed.guest = *std::move(guest);
  } else if (absl::IsDataLoss(guest.status()) || absl::IsResourceExhausted(guest.status())) {
    observed.guest_refused = std::string(guest.status().message());
  }
  return observed;
}

}  // namespace rum
