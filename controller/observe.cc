#include "controller/observe.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "controller/storage.h"

namespace rum {

absl::StatusOr<Observed> Observe(const MachineIdentity& machine, Hypervisor& hypervisor,
                                 GuestAgent* agent, ListenerSet* listeners, const Config& desired,
                                 const MachineRecord& record) {
  absl::StatusOr<DomainState> domain = hypervisor.Inspect(machine);
  if (absl::IsPermissionDenied(domain.status())) return domain.status();  // says it all
  if (!domain.ok()) {
    return absl::Status(domain.status().code(),
                        absl::StrCat("libvirt: ", std::string(domain.status().message())));
  }
  Observed observed;
  observed.domain = *std::move(domain);
  if (listeners != nullptr) observed.forwards = listeners->Observe();
  if (agent == nullptr || !observed.domain.running) return observed;
  agent::ObserveRequest request;
  request.set_user(UserInGuest(desired, observed.domain));
  std::set<std::string> groups(desired.user().groups().begin(), desired.user().groups().end());
  groups.insert(record.owned_groups().begin(), record.owned_groups().end());
  for (const std::string& group : groups) request.add_groups(group);
  for (const agent::Volume& volume : VolumesOf(observed.domain)) *request.add_volumes() = volume;
  absl::StatusOr<agent::Observation> guest = agent->Observe(request);
  if (guest.ok()) observed.guest = *std::move(guest);
  return observed;
}

}  // namespace rum
