#include "controller/reconcile/observe.h"

#include <google/protobuf/util/message_differencer.h>

#include <functional>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/aspects/aspects.h"

namespace rum {

using google::protobuf::util::MessageDifferencer;

absl::Status OfLibvirt(const absl::Status& status) {
  const std::string message(status.message());
  if (absl::StartsWith(message, "libvirt")) return status;
  return absl::Status(status.code(), absl::StrCat("libvirt: ", message));
}

namespace {

agent::ObserveRequest QuestionFor(const Config& desired, const MachineRecord& record,
                                  const DomainState& domain) {
  agent::ObserveRequest question;
  question.set_user(UserInGuest(desired, domain));
  for (const Aspect& aspect : Aspects()) {
    if (aspect.ask != nullptr) aspect.ask(desired, record, domain, &question);
  }
  return question;
}

}  // namespace

absl::StatusOr<Observed> Observe(const MachineIdentity& machine, Hypervisor& hypervisor,
                                 GuestAgent* agent, ListenerSet* listeners, const Config& desired,
                                 const MachineRecord& record, UsualQuestion* usual) {
  const std::optional<agent::ObserveRequest> asked = usual->Get();
  std::function<absl::StatusOr<agent::Observation>()> answer;
  if (agent != nullptr && asked.has_value()) answer = agent->BeginObserve(*asked);
  absl::StatusOr<DomainState> domain = hypervisor.Inspect(machine);
  if (absl::IsPermissionDenied(domain.status())) return domain.status();  // says it all
  if (!domain.ok()) return OfLibvirt(domain.status());
  Observed observed;
  observed.domain = *std::move(domain);
  if (listeners != nullptr) observed.forwards = listeners->Observe();
  // Who asks a guest that stands still waits for nothing.
  if (agent == nullptr || !observed.domain.running || StandsStill(observed.domain)) {
    usual->Set(std::nullopt);
    return observed;
  }
  const agent::ObserveRequest question = QuestionFor(desired, record, observed.domain);
  if (!answer || !MessageDifferencer::Equals(question, *asked))
    answer = agent->BeginObserve(question);
  absl::StatusOr<agent::Observation> guest = answer();
  usual->Set(guest.ok() ? std::make_optional(question) : std::nullopt);
  if (guest.ok()) {
    observed.guest = *std::move(guest);
  } else if (absl::IsDataLoss(guest.status()) || absl::IsResourceExhausted(guest.status())) {
    observed.guest_refused = std::string(guest.status().message());
  }
  return observed;
}

}  // namespace rum
