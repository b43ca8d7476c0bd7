// Of Machine: what the user consents to, and what is withheld.
#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "controller/decide/trust.h"
#include "controller/fleet/machine.h"
#include "controller/reconcile/observe.h"
#include "state/surroundings.h"

namespace rum {
namespace {

// Those of libvirt's that a machine has joined, by its definitions; by its record where it has
// none.
std::set<std::string> JoinedBy(const DomainState& domain, const MachineRecord& record,
                               const std::set<std::string>& of_others) {
  std::set<std::string> joined;
  for (const Config* config : {&domain.persistent, &domain.live}) {
    for (const Interface& card : config->network().interfaces()) {
      if (card.joined()) joined.insert(card.network());
    }
  }
  const Config* const had = ConfigOf(record);
  if (domain.defined || domain.running || had == nullptr) return joined;
  for (const Interface& card : had->network().interfaces()) {
    if (of_others.count(card.network()) > 0) joined.insert(card.network());
  }
  return joined;
}

}  // namespace

absl::Status Machine::AskNetworks(const std::string& uri, MachineRecord* record,
                                  Surroundings* around) const {
  const absl::StatusOr<std::shared_ptr<Hypervisor>> hypervisor = links_.hypervisor(uri);
  if (!hypervisor.ok()) return hypervisor.status();
  absl::StatusOr<std::set<std::string>> networks =
      (*hypervisor)->NetworksOfOthers(links_.machine());
  if (!networks.ok()) return OfLibvirt(networks.status());
  if (!record->networks_known()) {
    const absl::StatusOr<DomainState> domain = (*hypervisor)->Inspect(links_.machine());
    if (absl::IsPermissionDenied(domain.status())) return domain.status();  // says it all
    if (!domain.ok()) return OfLibvirt(domain.status());
    const std::lock_guard<std::mutex> lock(mutex_);
    TakeNetworksOver(JoinedBy(*domain, record_, *networks), absl::ToUnixMillis(absl::Now()),
                     &record_);
    *record = record_;
  }
  around->networks = *std::move(networks);
  return absl::OkStatus();
}

// Of a machine that was not made yet nothing is kept but a word that stands.
absl::Status Machine::SaveWord(const MachineRecord& record) {
  const bool empty = record.generation() == 0 && record.consented().empty();
  absl::Status saved = empty ? store_->Remove(record.id()) : store_->Save(record);
  if (saved.ok()) Publish(record);
  return saved;
}

absl::Status Machine::TakeWord(const std::vector<ConsentedValue>& values) {
  if (values.empty()) return absl::OkStatus();
  MachineRecord record = Snapshot();
  Give(values, absl::ToUnixMillis(absl::Now()), &record);
  return SaveWord(record);
}

// What a command would have to do and the user has not consented to.
absl::Status Machine::MayApply(const ApplyOptions& options, const Wanted& wanted) {
  if (!wanted.blocked.empty()) return absl::FailedPreconditionError(wanted.blocked);
  const bool image_waits = std::any_of(wanted.asks.begin(), wanted.asks.end(),
                                       [](const Ask& ask) { return ask.field == kImageField; });
  if (!options.up || !image_waits || (wanted.may_start && !options.reset)) return absl::OkStatus();
  return absl::FailedPreconditionError(WaitsForWord(wanted.asks, {kImageField}));
}

MachineStatus Machine::Blocked(const Wanted& wanted, const MachineRecord& record,
                               int64_t now_ms) const {
  MachineStatus status =
      MakeStatus(wanted.config, record, Observed(), now_ms, wanted.error, wanted.asks);
  status.set_error(wanted.blocked);
  if (record.generation() > 0) {
    status.set_phase(MachineStatus::UNREACHABLE);
    status.clear_phase_reason();
    status.clear_phase_since_ms();
    status.clear_phase_remedy();
  }
  if (!wanted.note.empty()) status.add_notes(wanted.note);
  return status;
}

absl::StatusOr<Machine::TrustState> Machine::Trust(const TrustChange& change) {
  if (absl::Status ready = Ready(); !ready.ok()) return ready;
  if (change.any()) {
    const std::unique_lock<std::timed_mutex> changing = Turn({});
    (void)Desired();  // what the machine has counts as consented first, and may be taken back then
    MachineRecord record = Snapshot();
    Give(change.give, absl::ToUnixMillis(absl::Now()), &record);
    const bool revoked = Revoke(change.revoke, change.revoke_all, &record);
    if (absl::Status saved = SaveWord(record); !saved.ok()) return saved;
    if (revoked) CloseWithheld(record);
  }
  Wanted wanted = Desired({}, change.default_uri);
  const MachineRecord record = Snapshot();
  return TrustState{std::move(wanted.asks),
                    {record.consented().begin(), record.consented().end()},
                    std::move(wanted.note),
                    std::move(wanted.error)};
}

void Machine::CloseWithheld(const MachineRecord& record) {
  const std::shared_ptr<ListenerSet> listeners = links_.listeners();
  if (listeners == nullptr) return;
  const Surroundings around =
      LookAround(links_.machine().config_path, {&record.desired(), &record.applied()});
  std::vector<Forward> consented;
  for (const Config* config : {&record.desired(), &record.applied()}) {
    for (const Port& port : ConsentedPorts(*config, record, around)) {
      consented.push_back({port.bind().empty() ? "127.0.0.1" : port.bind(),
                           static_cast<uint16_t>(port.host()),
                           static_cast<uint16_t>(port.guest())});
    }
  }
  std::vector<Forward> kept;
  const std::vector<ForwardState> open = listeners->Observe();
  for (const ForwardState& state : open) {
    const bool stays =
        std::find(consented.begin(), consented.end(), state.forward) != consented.end();
    if (stays) kept.push_back(state.forward);
  }
  if (kept.size() < open.size()) listeners->Apply(kept);
}

}  // namespace rum
