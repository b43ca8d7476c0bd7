#include "controller/aspects/ports.h"

#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "controller/aspects/aspects.h"
#include "controller/aspects/worlds.h"
#include "controller/base/bytes_text.h"
#include "state/item_name.h"

namespace rum {
namespace {

constexpr char kPorts[] = "ports";
constexpr char kDefaultBind[] = "127.0.0.1";

using PortKey = std::tuple<std::string, uint32_t, uint32_t>;

std::string BindOf(const Port& port) { return port.bind().empty() ? kDefaultBind : port.bind(); }

PortKey KeyOfPort(const Port& port) { return {BindOf(port), port.host(), port.guest()}; }

PortKey KeyOfForward(const Forward& forward) { return {forward.bind, forward.host, forward.guest}; }

Port MakePort(const PortKey& key) {
  Port port;
  port.set_bind(std::get<0>(key));
  port.set_host(std::get<1>(key));
  port.set_guest(std::get<2>(key));
  return port;
}

std::string PortItem(const std::string& bind, uint32_t host) {
  return ItemName(kPorts, {bind, absl::StrCat(host)});
}

std::string TrafficText(const ForwardState& state) {
  std::string text = absl::StrCat(state.open_connections, " open, ");
  if (state.bytes_in + state.bytes_out == 0) {
    absl::StrAppend(&text, "0 B");
  } else {
    absl::StrAppend(&text, BytesText(static_cast<double>(state.bytes_in)), " in, ",
                    BytesText(static_cast<double>(state.bytes_out)), " out");
  }
  const bool down = state.health == ForwardHealth::kDown;
  const bool once = state.bytes_out > 0;
  if (down) absl::StrAppend(&text, "; nothing listens in the guest ", once ? "any more" : "yet");
  if (!state.last_error.empty()) absl::StrAppend(&text, ", last error: ", state.last_error);
  return text;
}

ForwardFacts FactsOfForward(const Port& port, const ForwardState& state) {
  ForwardFacts facts;
  facts.set_bind(BindOf(port));
  facts.set_host(port.host());
  facts.set_guest(port.guest());
  facts.set_auto_(port.auto_());
  facts.set_open_connections(state.open_connections);
  facts.set_bytes_to_guest(state.bytes_in);
  facts.set_bytes_to_host(state.bytes_out);
  facts.set_last_error(state.last_error);
  facts.set_health(state.health == ForwardHealth::kUp     ? ForwardFacts::UP
                   : state.health == ForwardHealth::kDown ? ForwardFacts::DOWN
                                                          : ForwardFacts::UNKNOWN);
  return facts;
}

// `state` is null where there is no listener for it.
Finding& JudgePort(const Scene& scene, const Port& port, const ForwardState* state,
                   Verdict* verdict) {
  const std::string address = HostPort(BindOf(port), port.host());
  const std::string field = PortItem(BindOf(port), port.host());
  const std::string name = absl::StrCat(address, " → ", port.guest());
  const std::string wanted = absl::StrCat(port.guest());
  if (state == nullptr) {
    return verdict->AddCurable(field, kPorts, MovedBy(scene, field, wanted, Item::HOST), "closed",
                               wanted, absl::StrCat(name, " is not open"),
                               Outlook(scene, "opened"));
  }
  if (state->bound.ok()) {
    return verdict->AddHolding(field, absl::StrCat(name, " (", TrafficText(*state), ")"));
  }
  std::string why(state->bound.message());
  const std::string prefix = absl::StrCat("port ", address, ": ");
  if (absl::StartsWith(why, prefix)) why = why.substr(prefix.size());
  Finding& finding = verdict->Add(field, Item::FAILING, Item::HOST, why, wanted, name, why);
  finding.item.set_remedy(kPorts);
  return finding;
}

void JudgeUnwantedPort(const Scene& scene, const PortKey& key, Verdict* verdict) {
  const Port port = MakePort(key);
  const std::string guest = absl::StrCat(port.guest());
  verdict->AddCurable(PortItem(port.bind(), port.host()), kPorts, Item::FILE, guest, "",
                      absl::StrCat(HostPort(port.bind(), port.host()), " → ", guest, " is open"),
                      Outlook(scene, "closed"));
}

Verdict JudgePorts(const Scene& scene) {
  Verdict verdict;
  if (!scene.observed.domain.running) return verdict;
  std::map<PortKey, const ForwardState*> listed;
  for (const ForwardState& state : scene.observed.forwards) {
    listed[KeyOfForward(state.forward)] = &state;
  }
  std::map<PortKey, bool> wanted;  // whether it is open
  Config* applied = verdict.seen.mutable_applied();
  for (const Port& port : scene.desired.ports()) {
    const auto found = listed.find(KeyOfPort(port));
    const ForwardState* state = found == listed.end() ? nullptr : found->second;
    *JudgePort(scene, port, state, &verdict).item.mutable_forward() =
        FactsOfForward(port, state == nullptr ? ForwardState() : *state);
    wanted[KeyOfPort(port)] = state != nullptr && state->bound.ok();
    if (wanted[KeyOfPort(port)]) *applied->add_ports() = port;
  }
  verdict.Know("applied.ports");
  Action::SetForwards set;
  for (const auto& [key, open] : wanted) {
    *set.add_wanted() = MakePort(key);
    if (!open) *set.add_added() = MakePort(key);
  }
  for (const auto& [key, state] : listed) {
    if (wanted.count(key) > 0) continue;
    *set.add_removed() = MakePort(key);
    JudgeUnwantedPort(scene, key, &verdict);
  }
  if (set.added().empty() && set.removed().empty()) return verdict;
  *verdict.AddAction(kPorts)->mutable_set_forwards() = set;
  return verdict;
}

absl::Status ActOnPorts(const Action& action, const Worlds& worlds, Deed* deed) {
  if (worlds.listeners == nullptr) return absl::UnavailableError("ports: no listeners");
  const Action::SetForwards& set = action.set_forwards();
  std::vector<Forward> wanted;
  for (const Port& port : set.wanted()) {
    wanted.push_back(
        {port.bind(), static_cast<uint16_t>(port.host()), static_cast<uint16_t>(port.guest())});
  }
  std::set<PortKey> to_add;
  for (const Port& port : set.added()) to_add.insert(KeyOfPort(port));
  std::vector<std::string> added, removed, failures;
  absl::StatusCode code = absl::StatusCode::kOk;
  for (const ForwardState& state : worlds.listeners->Apply(wanted)) {
    if (!state.bound.ok()) {
      code = state.bound.code();
      failures.push_back(std::string(state.bound.message()));
    } else if (to_add.count(KeyOfForward(state.forward)) > 0) {
      added.push_back(PortText(MakePort(KeyOfForward(state.forward))));
    }
  }
  for (const Port& port : set.removed()) removed.push_back(PortText(port));
  deed->message = ListedMessage("Updated port forwards", added, removed);
  if (failures.empty()) return absl::OkStatus();
  const std::string done = deed->message.empty() ? "" : absl::StrCat(deed->message, "; ");
  return absl::Status(code, absl::StrCat(done, absl::StrJoin(failures, "; ")));
}

}  // namespace

std::string PortText(const Port& port) {
  const std::string bind = BindOf(port);
  const std::string host =
      bind == kDefaultBind ? absl::StrCat(port.host()) : HostPort(bind, port.host());
  return absl::StrCat(host, "→", port.guest());
}

Aspect PortsAspect() {
  return {.name = kPorts,
          .fields = {kPorts},
          .known_by = Item::HOST,
          .judge = JudgePorts,
          .act = ActOnPorts};
}

}  // namespace rum
