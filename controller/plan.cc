#include "controller/plan.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "controller/drift.h"
#include "controller/script_ledger.h"
#include "controller/storage.h"
#include "controller/utf8.h"
#include "state/authorized_key.h"
#include "state/diff.h"
#include "state/identity.h"
#include "state/image_url.h"
#include "state/item_name.h"
#include "state/names.h"

namespace rum {
namespace {

using PortKey = std::tuple<std::string, uint32_t, uint32_t>;

constexpr char kImageField[] = "image.base";
constexpr char kDefaultBind[] = "127.0.0.1";

std::string BindOf(const Port& port) { return port.bind().empty() ? kDefaultBind : port.bind(); }

PortKey KeyOf(const Port& port) { return {BindOf(port), port.host(), port.guest()}; }

Port MakePort(const PortKey& key) {
  Port port;
  port.set_bind(std::get<0>(key));
  port.set_host(std::get<1>(key));
  port.set_guest(std::get<2>(key));
  return port;
}

Change ToChange(const FieldChange& field) {
  Change change;
  change.set_field(field.field);
  change.set_before(field.before);
  change.set_after(field.after);
  change.set_effect(field.effect);
  change.set_reason(field.reason);
  return change;
}

bool IsRestart(const FieldChange& change) {
  return change.effect == RESTART || change.effect == EFFECT_UNSPECIFIED;
}

// A definition carries neither ports nor scripts: they are no difference of it.
std::vector<FieldChange> DefinitionChanges(const Config& definition, const Config& desired) {
  Config comparable = desired;
  *comparable.mutable_ports() = definition.ports();
  *comparable.mutable_provision() = definition.provision();
  return Diff(definition, comparable);
}

bool HasRestart(const std::vector<FieldChange>& changes) {
  return std::any_of(changes.begin(), changes.end(), IsRestart);
}

// Lines of authorized_keys by what makes two of them the same key.
std::map<std::string, std::string> ByKey(
    const google::protobuf::RepeatedPtrField<std::string>& lines) {
  std::map<std::string, std::string> by_key;
  for (const std::string& line : lines) by_key.emplace(KeyWithoutComment(line), line);
  return by_key;
}

class Planner {
 public:
  Planner(const Config& desired, const MachineRecord& record, const Observed& observed,
          const PlanOptions& options)
      : desired_(desired), record_(record), observed_(observed), options_(options) {}

  Plan Make() {
    PlanDomain();
    ListWaiting();
    ListAtStart();
    if (observed_.domain.running) PlanPorts();
    if (observed_.domain.running && observed_.guest.has_value()) PlanGuest();
    if (!options_.retry_failed) LeaveFights();
    return std::move(plan_);
  }

 private:
  Action* Add(const std::string& field) {
    Action* action = plan_.add_actions();
    action->set_field(field);
    return action;
  }

  void PlanGuest() {
    PlanHostname();
    PlanGroups();
    PlanKeys();
    PlanStorage();
    PlanSystemScript();
    PlanBootScript();
  }

  void LeaveFights() {
    Plan peaceful = plan_;
    peaceful.clear_actions();
    for (const Action& action : plan_.actions()) {
      if (!IsFight(action.field(), record_)) *peaceful.add_actions() = action;
    }
    plan_ = std::move(peaceful);
  }

  void PlanDomain() {
    const DomainState& domain = observed_.domain;
    const bool starting = options_.start && !domain.running;
    if (domain.defined) {
      persistent_changes_ = DefinitionChanges(domain.persistent, desired_);
    }
    const bool reset = starting && options_.reset;
    bool define = reset || (starting && !domain.defined);
    // The next boot is ready at once; at a start, the seed gets the live fields as well.
    if (domain.defined || domain.running) define = define || HasRestart(persistent_changes_);
    define = define || ((domain.running || starting) && domain.defined && PromisesTooMuch());
    if (starting && domain.defined) {
      define = define || std::any_of(persistent_changes_.begin(), persistent_changes_.end(),
                                     [](const FieldChange& c) { return c.effect == LIVE; });
    }
    // Somebody undefined it while it runs: without a definition it would be gone once it is off.
    if (domain.running && !domain.defined) define = true;
    if (define) AddDefine(reset);
    if (starting || (options_.start && domain.paused)) Add("domain")->mutable_start_domain();
  }

  // A disk was to grow at the next start, and the file has taken that back.
  bool PromisesTooMuch() const {
    const Config& next = observed_.domain.persistent;
    const Config& now = observed_.domain.live;
    const auto too_much = [](uint64_t promised, uint64_t wanted, uint64_t there) {
      return promised > std::max(wanted, there);
    };
    if (too_much(next.resources().disk(), desired_.resources().disk(), now.resources().disk())) {
      return true;
    }
    return std::any_of(next.drives().begin(), next.drives().end(), [&](const auto& drive) {
      auto wanted = desired_.drives().find(drive.first);
      auto there = now.drives().find(drive.first);
      if (wanted == desired_.drives().end()) return false;
      if (there == now.drives().end() && observed_.domain.running)
        return false;  // as it is defined
      return too_much(drive.second.size(), wanted->second.size(),
                      there == now.drives().end() ? 0 : there->second.size());
    });
  }

  void AddDefine(bool reset) {
    Action::DefineDomain* define = Add("domain")->mutable_define_domain();
    if (!reset) return;
    define->set_reset(true);
    define->set_reset_drives(options_.reset_drives);
    for (const std::string& drive : DriveNames(observed_.domain)) define->add_drives(drive);
  }

  void ListWaiting() {
    const DomainState& domain = observed_.domain;
    if (!domain.defined && !domain.running) return;
    if (options_.start && options_.reset && !domain.running) return;  // a new disk settles all
    const std::vector<FieldChange> live =
        domain.running ? DefinitionChanges(domain.live, desired_) : persistent_changes_;
    bool image_listed = false;
    for (const FieldChange& change : live) {
      // What only the persistent definition lacks is an action, not a wait.
      if ((IsRestart(change) && domain.running) || change.effect == RECREATE) {
        *plan_.add_waiting() = ToChange(change);
        image_listed = image_listed || change.field == kImageField;
      }
    }
    if (domain.running) ListDrivesTooLarge();
    if (domain.image_drift.empty() || image_listed) return;
    Change* change = plan_.add_waiting();
    change->set_field(kImageField);
    const std::string image = ShownUrl(desired_.image().base());
    change->set_before(image);
    change->set_after(absl::StrCat(image, ", which is ",
                                   domain.image_drift == "gone" ? "gone" : "another file now"));
    change->set_effect(RECREATE);
    change->set_reason(absl::StrCat("the image under the disk was ",
                                    domain.image_drift == "gone" ? "removed" : "replaced",
                                    " since the disk was made"));
  }

  // A drive that the running machine lacks has its disk already, made when it was defined or
  // before.
  void ListDrivesTooLarge() {
    for (const FieldChange& change : persistent_changes_) {
      if (change.effect != RECREATE || !IsWithin(change.field, "drives")) continue;
      const auto is_of = [&](const auto& drive) {
        return change.field == absl::StrCat("drives.", drive.first, ".size");
      };
      const auto& live = observed_.domain.live.drives();
      if (std::none_of(live.begin(), live.end(), is_of)) *plan_.add_waiting() = ToChange(change);
    }
  }

  // Of a machine that is off, against what it ran with last and what was seen to hold then.
  void ListAtStart() {
    const DomainState& domain = observed_.domain;
    if (!domain.defined || domain.running || options_.start) return;
    if (record_.has_last_live()) {
      for (const FieldChange& change : DefinitionChanges(record_.last_live(), desired_)) {
        if (IsRestart(change)) *plan_.add_at_start() = ToChange(change);
      }
    }
    if (!record_.has_applied()) return;
    for (const FieldChange& change : Diff(record_.applied(), desired_)) {
      const bool live = change.effect == LIVE || change.effect == LIVE_OPT_IN;
      if (live) *plan_.add_at_start() = AtStart(change);
    }
  }

  // A script is told by its hash, and one that never ran to success needs no word to run.
  static Change AtStart(const FieldChange& change) {
    Change listed = ToChange(change);
    if (!IsWithin(change.field, "provision")) return listed;
    const auto mark = [](const std::string& script) {
      return script.empty() ? "" : Sha256Hex(script).substr(0, 12);
    };
    listed.set_before(mark(change.before));
    listed.set_after(mark(change.after));
    if (change.before.empty()) listed.set_effect(LIVE);
    return listed;
  }

  void PlanPorts() {
    std::set<PortKey> wanted, open, listed;
    for (const Port& port : desired_.ports()) wanted.insert(KeyOf(port));
    for (const ForwardState& state : observed_.forwards) {
      const PortKey key(state.forward.bind, state.forward.host, state.forward.guest);
      listed.insert(key);
      if (state.bound.ok()) open.insert(key);
    }
    Action action;
    Action::SetForwards* set = action.mutable_set_forwards();
    for (const PortKey& key : wanted) {
      *set->add_wanted() = MakePort(key);
      if (open.count(key) == 0) *set->add_added() = MakePort(key);
    }
    for (const PortKey& key : listed) {
      if (wanted.count(key) == 0) *set->add_removed() = MakePort(key);
    }
    if (set->added().empty() && set->removed().empty()) return;
    action.set_field("ports");
    *plan_.add_actions() = action;
  }

  void PlanHostname() {
    const std::string& name = desired_.network().hostname();
    const agent::Observation& guest = *observed_.guest;
    const bool named = guest.hostname() == name && guest.static_hostname() == name;
    if (name.empty() || (named && !guest.hosts_lack_name())) return;
    Action::SetHostname* set = Add("network.hostname")->mutable_set_hostname();
    set->set_before(ToUtf8(guest.hostname() == name ? guest.static_hostname() : guest.hostname()));
    set->set_after(name);
  }

  void PlanGroups() {
    const std::set<std::string> wanted(desired_.user().groups().begin(),
                                       desired_.user().groups().end());
    const std::set<std::string> present(observed_.guest->groups().begin(),
                                        observed_.guest->groups().end());
    const std::set<std::string> owned(record_.owned_groups().begin(), record_.owned_groups().end());
    Action action;
    Action::SetGroups* set = action.mutable_set_groups();
    for (const std::string& group : wanted) {
      if (present.count(group) == 0) set->add_add(group);
    }
    for (const std::string& group : owned) {
      if (wanted.count(group) == 0 && present.count(group) > 0) set->add_remove(group);
    }
    if (set->add().empty() && set->remove().empty()) return;
    set->set_user(UserInGuest(desired_, observed_.domain));
    action.set_field("user.groups");
    *plan_.add_actions() = action;
  }

  void PlanKeys() {
    const std::set<std::string> present(observed_.guest->authorized_keys().begin(),
                                        observed_.guest->authorized_keys().end());
    const std::map<std::string, std::string> wanted = ByKey(desired_.ssh().authorized_keys());
    Action action;
    Action::SetAuthorizedKeys* set = action.mutable_set_authorized_keys();
    const std::map<std::string, std::string> applied =
        ByKey(record_.applied().ssh().authorized_keys());
    for (const auto& [key, line] : wanted) {
      // The guest tells which keys there are; what they may do is known from the last time.
      const auto last = applied.find(key);
      const bool other = last != applied.end() && KeyOptionsOf(last->second) != KeyOptionsOf(line);
      if (present.count(key) == 0 || other) set->add_add(line);
    }
    for (const auto& [key, line] : ByKey(record_.owned_keys())) {
      if (wanted.count(key) == 0 && present.count(key) > 0) set->add_remove(line);
    }
    if (set->add().empty() && set->remove().empty()) return;
    set->set_user(UserInGuest(desired_, observed_.domain));
    action.set_field("ssh.authorized_keys");
    *plan_.add_actions() = action;
  }

  void PlanStorage() {
    Action action;
    Action::SetStorage* set = action.mutable_set_storage();
    for (const agent::VolumeState& state : observed_.guest->volumes()) {
      if (!state.holds()) set->add_made(state.target());
    }
    for (const std::string& target : observed_.guest->stale_targets()) {
      set->add_removed(ToUtf8(target));
    }
    if (set->made().empty() && set->removed().empty()) return;
    for (const agent::Volume& volume : VolumesOf(observed_.domain)) *set->add_volumes() = volume;
    action.set_field("storage");
    *plan_.add_actions() = action;
  }

  void PlanSystemScript() {
    const std::string& script = desired_.provision().system().script();
    const ScriptVerdict verdict = JudgeScript("system", script, *observed_.guest);
    const bool asked = options_.force_system_script || options_.rerun_system;
    if (verdict.state == ScriptVerdict::kChanged && !asked) {
      Change* waiting = plan_.add_waiting();
      waiting->set_field("provision.system.script");
      waiting->set_before(verdict.ran_hash.substr(0, 12));
      waiting->set_after(verdict.content_hash.substr(0, 12));
      waiting->set_effect(LIVE_OPT_IN);
      waiting->set_reason(ReasonOf("provision.system.script"));
      return;
    }
    const bool added = AddScript("system", script, verdict, options_.rerun_system);
    // What never ran to success comes before the boot script.
    system_missing_ = !added && (verdict.state == ScriptVerdict::kFailed ||
                                 verdict.state == ScriptVerdict::kNeverRan);
  }

  void PlanBootScript() {
    const std::string& script = desired_.provision().boot().script();
    if (script.empty() && !observed_.guest->boot_script_hash().empty()) {
      Add("provision.boot.script")->mutable_forget_boot_script();
    }
    if (system_missing_) return;
    AddScript("boot", script, JudgeScript("boot", script, *observed_.guest), options_.rerun_boot);
  }

  bool AddScript(const std::string& kind, const std::string& script, const ScriptVerdict& verdict,
                 bool rerun) {
    if (verdict.state == ScriptVerdict::kNone) return false;
    if (verdict.state == ScriptVerdict::kHolds && !rerun) return false;
    if (verdict.state == ScriptVerdict::kFailed && !options_.retry_failed) return false;
    Action::RunScript* run = Add(absl::StrCat("provision.", kind, ".script"))->mutable_run_script();
    run->set_kind(kind);
    run->set_script(script);
    run->set_content_hash(verdict.content_hash);
    run->set_rerun(!verdict.ran_hash.empty());
    run->set_run_id(verdict.run_id);
    run->set_last_run_id(verdict.last_run_id);
    run->set_timeout_s(static_cast<uint32_t>(desired_.provision().timeout_s()));
    return true;
  }

  const Config& desired_;
  const MachineRecord& record_;
  const Observed& observed_;
  const PlanOptions& options_;
  std::vector<FieldChange> persistent_changes_;
  bool system_missing_ = false;
  Plan plan_;
};

}  // namespace

std::string UserInGuest(const Config& desired, const DomainState& domain) {
  const std::string& made = domain.running ? domain.live.user().name() : "";
  return made.empty() ? desired.user().name() : made;
}

std::string PortText(const Port& port) {
  const std::string bind = BindOf(port);
  const std::string host =
      bind == kDefaultBind ? absl::StrCat(port.host()) : HostPort(bind, port.host());
  return absl::StrCat(host, "→", port.guest());
}

std::vector<std::string> DriveNames(const DomainState& domain) {
  std::set<std::string> names;
  for (const auto& [name, drive] : domain.persistent.drives()) names.insert(name);
  for (const auto& [name, drive] : domain.live.drives()) names.insert(name);
  return {names.begin(), names.end()};
}

Plan MakePlan(const Config& desired, const MachineRecord& record, const Observed& observed,
              const PlanOptions& options) {
  return Planner(desired, record, observed, options).Make();
}

}  // namespace rum
