#include "controller/reconcile/observe.h"

#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/aspects/aspects.h"

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
  for (const Aspect& aspect : Aspects()) {
    if (aspect.ask != nullptr) aspect.ask(desired, record, observed.domain, &request);
  }
  absl::StatusOr<agent::Observation> guest = agent->Observe(request);
  if (guest.ok()) {
    observed.guest = *std::move(guest);
  } else if (absl::IsDataLoss(guest.status()) || absl::IsResourceExhausted(guest.status())) {
    observed.guest_refused = std::string(guest.status().message());
  }
  return observed;
}

}  // namespace rum
