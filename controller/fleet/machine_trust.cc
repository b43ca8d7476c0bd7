// Of Machine: what the user consents to, and what is withheld.
#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "controller/decide/trust.h"
#include "controller/fleet/machine.h"
#include "state/surroundings.h"

namespace rum {

absl::Status Machine::TakeWord(const std::vector<ConsentedValue>& values) {
  if (values.empty()) return absl::OkStatus();
  MachineRecord record = record_.Get();
  Give(values, absl::ToUnixMillis(absl::Now()), &record);
  return record_.SaveWord(record);
}

absl::StatusOr<Machine::TrustState> Machine::Trust(const TrustChange& change) {
  if (absl::Status ready = record_.Ready(); !ready.ok()) return ready;
  if (change.any()) {
    const std::unique_lock<std::timed_mutex> changing = Turn({});
    (void)
        file_.Read();  // what the machine has counts as consented first, and may be taken back then
    MachineRecord record = record_.Get();
    Give(change.give, absl::ToUnixMillis(absl::Now()), &record);
    const bool revoked = Revoke(change.revoke, change.revoke_all, &record);
    if (absl::Status saved = record_.SaveWord(record); !saved.ok()) return saved;
    if (revoked) CloseWithheld(record);
  }
  Wanted wanted = file_.Read({}, change.default_uri);
  const MachineRecord record = record_.Get();
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
