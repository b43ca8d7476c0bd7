#include <map>
#include <set>
#include <tuple>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "controller/hypervisor/domain_xml.h"
#include "controller/plan.h"
#include "controller/script_ledger.h"
#include "controller/storage.h"
#include "google/protobuf/util/message_differencer.h"
#include "state/diff.h"
#include "state/names.h"

namespace rum {
namespace {

using google::protobuf::util::MessageDifferencer;

std::string Bytes(int64_t bytes) {
  if (bytes < 1000) return absl::StrCat(bytes, " B");
  if (bytes < 1000 * 1000) return absl::StrCat(bytes / 1000, " kB");
  if (bytes < 1000LL * 1000 * 1000) return absl::StrCat(bytes / 1000 / 1000, " MB");
  return absl::StrCat(bytes / 1000 / 1000 / 1000, " GB");
}

std::string Address(const std::string& bind, uint32_t port) {
  return absl::StrContains(bind, ":") ? absl::StrCat("[", bind, "]:", port)
                                      : absl::StrCat(bind, ":", port);
}

class Reporter {
 public:
  Reporter(const Config& desired, const MachineRecord& record, const Observed& observed)
      : desired_(desired),
        record_(record),
        observed_(observed),
        plan_(MakePlan(desired, record, observed, PlanOptions())) {
    if (record.has_applied()) file_changes_ = Diff(record.applied(), desired);
  }

  MachineStatus Make() {
    Identify();
    const bool running = observed_.domain.running;
    if (running) ReportPorts();
    if (observed_.guest.has_value()) {
      ReportAgent();
      ReportHostname();
      ReportGroups();
      ReportCards();
      ReportKeys();
      ReportStorage();
    }
    if (observed_.domain.defined || running) ReportDomain();
    if (observed_.guest.has_value()) {
      ReportScript("system", desired_.provision().system().script());
      ReportScript("boot", desired_.provision().boot().script());
    }
    return std::move(status_);
  }

 private:
  void Identify() {
    status_.set_id(record_.id());
    status_.set_name(record_.name());
    status_.set_config_path(record_.config_path());
    const bool moved = !MessageDifferencer::Equals(desired_, record_.desired());
    // The number that the next apply gives to a file that nobody applied yet.
    status_.set_generation(record_.generation() + (moved ? 1 : 0));
    status_.set_applied_generation(record_.applied_generation());
    status_.set_applied_ms(record_.applied_ms());
    status_.set_agent_connected(observed_.guest.has_value());
    status_.set_phase(Phase());
  }

  MachineStatus::Phase Phase() const {
    if (observed_.domain.running) {
      if (observed_.guest.has_value()) return MachineStatus::RUNNING;
      return observed_.agent_was_here ? MachineStatus::UNREACHABLE : MachineStatus::STARTING;
    }
    return observed_.domain.defined ? MachineStatus::STOPPED : MachineStatus::NOT_DEFINED;
  }

  Item* Add(const std::string& field, Item::State state, const std::string& text) {
    Item* item = status_.add_items();
    item->set_field(field);
    item->set_state(state);
    item->set_text(text);
    return item;
  }

  // The file, when it says something else than what was applied; else whoever owns the other end.
  Item::Author MovedBy(const std::string& field, Item::Author other) const {
    if (!record_.has_applied()) return Item::FILE;
    for (const FieldChange& change : file_changes_) {
      if (absl::StartsWith(change.field, field)) return Item::FILE;
    }
    return other;
  }

  std::string Remedy(const std::string& will) const {
    return desired_.reconcile().auto_() ? absl::StrCat("will be ", will)
                                        : std::string("`rum apply` puts it right");
  }

  // A restart brings the agent of this rum's seed, whichever is there now.
  void ReportAgent() {
    if (!observed_.guest.has_value() || observed_.guest->not_replaced().empty()) return;
    Add("agent", Item::NEEDS_RESTART, observed_.guest->not_replaced())->set_moved_by(Item::GUEST);
  }

  void ReportPorts() {
    std::map<std::tuple<std::string, uint32_t, uint32_t>, const ForwardState*> listed;
    for (const ForwardState& state : observed_.forwards) {
      listed[{state.forward.bind, state.forward.host, state.forward.guest}] = &state;
    }
    for (const Port& port : desired_.ports()) {
      const std::string bind = port.bind().empty() ? "127.0.0.1" : port.bind();
      auto found = listed.find({bind, port.host(), port.guest()});
      ReportPort(port, bind, found == listed.end() ? nullptr : found->second);
      if (found != listed.end()) listed.erase(found);
    }
    for (const auto& [key, state] : listed) {
      const std::string address = Address(std::get<0>(key), std::get<1>(key));
      Add(absl::StrCat("ports[", address, "]"), Item::WILL_APPLY,
          absl::StrCat(address, " → ", std::get<2>(key), " is open: ", Remedy("closed")))
          ->set_moved_by(Item::FILE);
    }
  }

  void ReportPort(const Port& port, const std::string& bind, const ForwardState* state) {
    const std::string address = Address(bind, port.host());
    const std::string field = absl::StrCat("ports[", address, "]");
    const std::string name = absl::StrCat(address, " → ", port.guest());
    if (state == nullptr) {
      Item* item =
          Add(field, Item::WILL_APPLY, absl::StrCat(name, " is not open: ", Remedy("opened")));
      item->set_moved_by(MovedBy("ports", Item::HOST));
      *item->mutable_forward() = FactsOf(port, bind, ForwardState());
      return;
    }
    if (state->bound.ok()) {
      Item* item = Add(field, Item::HOLDS, absl::StrCat(name, " (", Traffic(*state), ")"));
      *item->mutable_forward() = FactsOf(port, bind, *state);
      return;
    }
    std::string why(state->bound.message());
    const std::string prefix = absl::StrCat("port ", address, ": ");
    if (absl::StartsWith(why, prefix)) why = why.substr(prefix.size());
    Item* item = Add(field, Item::FAILING, absl::StrCat(name, ": ", why));
    item->set_moved_by(Item::HOST);
    *item->mutable_forward() = FactsOf(port, bind, *state);
  }

  static std::string Traffic(const ForwardState& state) {
    std::string text = absl::StrCat(state.open_connections, " open, ");
    if (state.bytes_in + state.bytes_out == 0) {
      absl::StrAppend(&text, "0 B");
    } else {
      absl::StrAppend(&text, Bytes(state.bytes_in), " in, ", Bytes(state.bytes_out), " out");
    }
    if (state.health == ForwardHealth::kDown) absl::StrAppend(&text, ", down");
    if (!state.last_error.empty()) absl::StrAppend(&text, ", last error: ", state.last_error);
    return text;
  }

  static ForwardFacts FactsOf(const Port& port, const std::string& bind,
                              const ForwardState& state) {
    ForwardFacts facts;
    facts.set_bind(bind);
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

  void ReportHostname() {
    const Action* action = ActionOf("network.hostname");
    const std::string& wanted = desired_.network().hostname();
    if (action == nullptr) {
      Add("network.hostname", Item::HOLDS, wanted.empty() ? observed_.guest->hostname() : wanted);
      return;
    }
    Add("network.hostname", Item::WILL_APPLY,
        absl::StrCat(action->set_hostname().before(), " in the guest, ", wanted,
                     " wanted: ", Remedy("set")))
        ->set_moved_by(MovedBy("network.hostname", Item::GUEST));
  }

  void ReportGroups() {
    const Action* action = ActionOf("user.groups");
    if (action == nullptr) {
      std::set<std::string> groups(desired_.user().groups().begin(),
                                   desired_.user().groups().end());
      Add("user.groups", Item::HOLDS, groups.empty() ? "none" : absl::StrJoin(groups, ", "));
      return;
    }
    for (const std::string& group : action->set_groups().add()) {
      const Item::Author author = MovedBy(absl::StrCat("user.groups[", group, "]"), Item::GUEST);
      Add(absl::StrCat("user.groups[", group, "]"), Item::WILL_APPLY,
          absl::StrCat(group, " missing in the guest: ",
                       Remedy(author == Item::GUEST ? "restored" : "added")))
          ->set_moved_by(author);
    }
    for (const std::string& group : action->set_groups().remove()) {
      Add(absl::StrCat("user.groups[", group, "]"), Item::WILL_APPLY,
          absl::StrCat(group, " is no longer in the file: ", Remedy("removed")))
          ->set_moved_by(Item::FILE);
    }
  }

  // The addresses of each card that the live definition has.
  void ReportCards() {
    const MachineIdentity machine{record_.config_path(), record_.name(), record_.id()};
    const Network& network = observed_.domain.live.network();
    std::vector<std::pair<std::string, std::string>> cards;  // field and what its MAC is made from
    if (network.nat()) cards.emplace_back("network.nat", "nat");
    for (const Interface& interface : network.interfaces()) {
      cards.emplace_back(absl::StrCat("network.interfaces[", interface.network(), "]"),
                         absl::StrCat("network:", interface.network()));
    }
    for (const auto& [field, name] : cards) {
      const std::string mac = CardMac(machine, name);
      for (const agent::Card& card : observed_.guest->cards()) {
        if (card.mac() != mac) continue;
        const bool any = !card.addresses().empty();
        Add(field, Item::HOLDS, any ? absl::StrJoin(card.addresses(), ", ") : "no address");
      }
    }
  }

  void ReportKeys() {
    const Action* action = ActionOf("ssh.authorized_keys");
    const int keys = desired_.ssh().authorized_keys_size();
    if (action == nullptr) {
      if (keys > 0) {
        Add("ssh.authorized_keys", Item::HOLDS, absl::StrCat(keys, keys == 1 ? " key" : " keys"));
      }
      return;
    }
    const Item::Author author = MovedBy("ssh.authorized_keys", Item::GUEST);
    for (const std::string& key : action->set_authorized_keys().add()) {
      Add("ssh.authorized_keys", Item::WILL_APPLY,
          absl::StrCat(KeyName(key), " missing in the guest: ",
                       Remedy(author == Item::GUEST ? "restored" : "added")))
          ->set_moved_by(author);
    }
    for (const std::string& key : action->set_authorized_keys().remove()) {
      Add("ssh.authorized_keys", Item::WILL_APPLY,
          absl::StrCat(KeyName(key), " is no longer in the file: ", Remedy("removed")))
          ->set_moved_by(Item::FILE);
    }
  }

  void ReportStorage() {
    const agent::Observation& guest = *observed_.guest;
    const std::vector<agent::Volume> volumes = VolumesOf(observed_.domain);
    for (size_t i = 0; i < volumes.size() && i < static_cast<size_t>(guest.volumes_size()); ++i) {
      if (guest.volumes(static_cast<int>(i)).holds()) {
        Add(FieldOf(volumes[i]), Item::HOLDS, "mounted");
        continue;
      }
      Add(FieldOf(volumes[i]), Item::WILL_APPLY, absl::StrCat("not mounted: ", Remedy("mounted")))
          ->set_moved_by(Item::GUEST);
    }
    for (const std::string& target : guest.stale_targets()) {
      Add("storage", Item::WILL_APPLY,
          absl::StrCat(target, " is no longer the machine's: ", Remedy("unmounted")))
          ->set_moved_by(Item::FILE);
    }
  }

  // memory and cpus always, every other field of the definition when something is with it.
  void ReportDomain() {
    std::set<std::string> reported;
    for (const Change& change : plan_.waiting()) {
      if (change.effect() == LIVE_OPT_IN) continue;  // with the scripts
      ReportWaiting(change);
      reported.insert(change.field());
    }
    if (observed_.domain.defined) ReportPersistent(&reported);
    const Config& now =
        observed_.domain.running ? observed_.domain.live : observed_.domain.persistent;
    if (reported.count("resources.memory_mb") == 0) {
      Add("resources.memory_mb", Item::HOLDS, absl::StrCat(now.resources().memory_mb(), " MiB"));
    }
    if (reported.count("resources.cpus") == 0) {
      Add("resources.cpus", Item::HOLDS,
          absl::StrCat(now.resources().cpus(), now.resources().cpus() == 1 ? " vCPU" : " vCPUs"));
    }
  }

  void ReportWaiting(const Change& change) {
    if (change.field() == "image.base" && !observed_.domain.image_drift.empty()) {
      Item* item = Add(change.field(), Item::NEEDS_RECREATE,
                       absl::StrCat(change.after(), ": `rum up --reset` makes a new disk"));
      item->set_moved_by(MovedBy(change.field(), Item::HOST));
      item->set_reason(change.reason());
      return;
    }
    const bool recreate = change.effect() == RECREATE;
    std::string unit;
    if (change.field() == "resources.memory_mb") unit = " MiB";
    if (change.field() == "resources.cpus") unit = " vCPUs";
    const std::string before = change.before().empty() ? "absent" : change.before();
    const std::string after = change.after().empty() ? "absent" : change.after();
    Item* item = Add(change.field(), recreate ? Item::NEEDS_RECREATE : Item::NEEDS_RESTART,
                     absl::StrCat(before, unit, " now, ", after, unit,
                                  recreate ? " needs rum up --reset" : " at the next start"));
    item->set_moved_by(MovedBy(change.field(), Item::LIBVIRT));
    item->set_reason(change.reason());
  }

  // What runs is right, but the definition for the next start is not.
  void ReportPersistent(std::set<std::string>* reported) {
    Config comparable = desired_;
    *comparable.mutable_ports() = observed_.domain.persistent.ports();
    *comparable.mutable_provision() = observed_.domain.persistent.provision();
    for (const FieldChange& change : Diff(observed_.domain.persistent, comparable)) {
      if (change.effect != RESTART || !reported->insert(change.field).second) continue;
      Add(change.field, Item::WILL_APPLY,
          absl::StrCat(change.before.empty() ? "absent" : change.before,
                       " in libvirt's definition, ", change.after.empty() ? "absent" : change.after,
                       " wanted: ", Remedy("written")))
          ->set_moved_by(MovedBy(change.field, Item::LIBVIRT));
    }
  }

  void ReportScript(const std::string& kind, const std::string& script) {
    const std::string field = absl::StrCat("provision.", kind, ".script");
    const ScriptVerdict verdict = JudgeScript(kind, script, *observed_.guest);
    switch (verdict.state) {
      case ScriptVerdict::kNone:
        return;
      case ScriptVerdict::kHolds:
        Add(field, Item::HOLDS, kind == "boot" ? "ran in this boot" : "ran");
        return;
      case ScriptVerdict::kRunning:
        Add(field, Item::WILL_APPLY, "is running");
        return;
      case ScriptVerdict::kFailed:
        Add(field, Item::FAILING,
            absl::StrCat(FailureText(verdict.last_failure), ": `rum apply` tries again"));
        return;
      case ScriptVerdict::kNeverRan:
        Add(field, Item::WILL_APPLY, absl::StrCat("has not run: ", Remedy("run")))
            ->set_moved_by(Item::FILE);
        return;
      case ScriptVerdict::kChanged:
        ReportChangedScript(kind, field, verdict);
        return;
    }
  }

  void ReportChangedScript(const std::string& kind, const std::string& field,
                           const ScriptVerdict& verdict) {
    if (kind == "boot") {
      Add(field, Item::WILL_APPLY, absl::StrCat("changed: ", Remedy("run again")))
          ->set_moved_by(Item::FILE);
      return;
    }
    const bool tried = !verdict.last_failure.run_id().empty();
    Item* item =
        Add(field, Item::OPT_IN,
            absl::StrCat(tried ? FailureText(verdict.last_failure) : "changed since it ran",
                         ": `rum reload --force` runs it again"));
    item->set_moved_by(Item::FILE);
    item->set_reason(ReasonOf(field));
  }

  const Action* ActionOf(const std::string& field) const {
    for (const Action& action : plan_.actions()) {
      if (action.field() == field) return &action;
    }
    return nullptr;
  }

  const Config& desired_;
  const MachineRecord& record_;
  const Observed& observed_;
  const Plan plan_;
  std::vector<FieldChange> file_changes_;
  MachineStatus status_;
};

}  // namespace

MachineStatus MakeStatus(const Config& desired, const MachineRecord& record,
                         const Observed& observed) {
  return Reporter(desired, record, observed).Make();
}

}  // namespace rum
