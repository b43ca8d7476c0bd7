#include "controller/record_update.h"

#include <algorithm>
#include <set>
#include <string>

#include "controller/restart_policy.h"
#include "controller/script_ledger.h"
#include "controller/utf8.h"
#include "google/protobuf/util/message_differencer.h"
#include "state/names.h"

namespace rum {
namespace {

using google::protobuf::util::MessageDifferencer;

// What the definition that counts now says; live fields of it mean nothing.
void NoteDomain(const DomainState& domain, Config* applied) {
  if (!domain.running && !domain.defined) return;
  const Config& now = domain.running ? domain.live : domain.persistent;
  *applied->mutable_image() = now.image();
  *applied->mutable_resources() = now.resources();
  applied->mutable_network()->set_nat(now.network().nat());
  *applied->mutable_network()->mutable_interfaces() = now.network().interfaces();
  *applied->mutable_mounts() = now.mounts();
  *applied->mutable_drives() = now.drives();
  *applied->mutable_fs() = now.fs();
  *applied->mutable_advanced() = now.advanced();
  applied->mutable_user()->set_name(now.user().name());
}

// Nothing on the machine depends on these.
void NoteFree(const Config& desired, Config* applied) {
  applied->mutable_network()->set_wait_for_ip(desired.network().wait_for_ip());
  applied->mutable_network()->set_ip_wait_timeout_s(desired.network().ip_wait_timeout_s());
  applied->mutable_ssh()->set_user(desired.ssh().user());
  applied->mutable_ssh()->set_command(desired.ssh().command());
  applied->mutable_ssh()->set_interface(desired.ssh().interface());
  *applied->mutable_reconcile() = desired.reconcile();
  applied->mutable_provision()->set_timeout_s(desired.provision().timeout_s());
}

void NotePorts(const Config& desired, const Observed& observed, Config* applied) {
  applied->clear_ports();
  for (const Port& port : desired.ports()) {
    const Forward wanted{port.bind().empty() ? "127.0.0.1" : port.bind(),
                         static_cast<uint16_t>(port.host()), static_cast<uint16_t>(port.guest())};
    const bool open = std::any_of(
        observed.forwards.begin(), observed.forwards.end(),
        [&](const ForwardState& state) { return state.forward == wanted && state.bound.ok(); });
    if (open) *applied->add_ports() = port;
  }
}

// Adds what is not there yet; sorted.
void Own(const google::protobuf::RepeatedPtrField<std::string>& more,
         google::protobuf::RepeatedPtrField<std::string>* owned) {
  std::set<std::string> all(owned->begin(), owned->end());
  all.insert(more.begin(), more.end());
  owned->Assign(all.begin(), all.end());
}

void NoteKeys(const Config& desired, const agent::Observation& guest, MachineRecord* record) {
  const std::set<std::string> present(guest.authorized_keys().begin(),
                                      guest.authorized_keys().end());
  std::set<std::string> wanted;
  Ssh* applied = record->mutable_applied()->mutable_ssh();
  applied->clear_authorized_keys();
  for (const std::string& line : desired.ssh().authorized_keys()) {
    const std::string key = KeyWithoutComment(line);
    wanted.insert(key);
    if (present.count(key) > 0) applied->add_authorized_keys(line);
  }
  const std::set<std::string> owned(record->owned_keys().begin(), record->owned_keys().end());
  record->clear_owned_keys();
  for (const std::string& line : owned) {
    const std::string key = KeyWithoutComment(line);
    if (wanted.count(key) > 0 || present.count(key) > 0) record->add_owned_keys(line);
  }
}

void NoteGuest(const Config& desired, const agent::Observation& guest, MachineRecord* record) {
  Config* applied = record->mutable_applied();
  if (guest.hostname() == guest.static_hostname()) {
    applied->mutable_network()->set_hostname(ToUtf8(guest.hostname()));
  }
  const std::set<std::string> present(guest.groups().begin(), guest.groups().end());
  const std::set<std::string> wanted(desired.user().groups().begin(),
                                     desired.user().groups().end());
  applied->mutable_user()->clear_groups();
  for (const std::string& group : desired.user().groups()) {
    if (present.count(group) > 0) applied->mutable_user()->add_groups(group);
  }
  // A group that is neither wanted nor there is nobody's: whoever adds it next owns it.
  const std::set<std::string> owned(record->owned_groups().begin(), record->owned_groups().end());
  record->clear_owned_groups();
  for (const std::string& group : owned) {
    if (wanted.count(group) > 0 || present.count(group) > 0) record->add_owned_groups(group);
  }
  NoteKeys(desired, guest, record);
  const std::string& system = desired.provision().system().script();
  const std::string& boot = desired.provision().boot().script();
  auto holds = [&](const std::string& kind, const std::string& script) {
    return JudgeScript(kind, script, guest).state == ScriptVerdict::kHolds;
  };
  if (holds("system", system)) applied->mutable_provision()->mutable_system()->set_script(system);
  if (holds("boot", boot)) applied->mutable_provision()->mutable_boot()->set_script(boot);
  if (boot.empty()) applied->mutable_provision()->clear_boot();
  record->clear_runs();
  for (const agent::ScriptRun& run : guest.runs()) {
    // The two messages are one on the wire.
    record->add_runs()->ParseFromString(run.SerializeAsString());
  }
}

}  // namespace

bool NoteDesired(const Config& desired, MachineRecord* record) {
  if (record->has_desired() && MessageDifferencer::Equals(record->desired(), desired)) return false;
  *record->mutable_desired() = desired;
  record->set_generation(record->generation() + 1);
  record->clear_fights();
  ForgetRestarts(record);
  return true;
}

bool NoteIntent(const Config& desired, const Observed& observed, const Action& action,
                MachineRecord* record) {
  const MachineRecord before = *record;
  if (action.has_set_groups()) {
    Own(action.set_groups().add(), record->mutable_owned_groups());
  }
  if (action.has_set_authorized_keys()) {
    Own(action.set_authorized_keys().add(), record->mutable_owned_keys());
  }
  const bool known = observed.domain.defined || observed.domain.running;
  if (action.has_define_domain() && (action.define_domain().reset() || !known)) {
    record->clear_owned_groups();
    record->clear_runs();
    record->clear_applied();
    record->clear_last_live();
    *record->mutable_owned_keys() = desired.ssh().authorized_keys();  // the seed brings them
  }
  return !MessageDifferencer::Equals(before, *record);
}

void NoteDone(const Action& action, MachineRecord* record) {
  if (!record->has_applied()) return;
  for (const std::string& line : action.set_authorized_keys().add()) {
    for (std::string& old : *record->mutable_applied()->mutable_ssh()->mutable_authorized_keys()) {
      if (KeyWithoutComment(old) == KeyWithoutComment(line)) old = line;
    }
  }
}

bool NoteObserved(const Config& desired, const Observed& observed, bool converged, int64_t now_ms,
                  MachineRecord* record) {
  const MachineRecord before = *record;
  Config* applied = record->mutable_applied();
  NoteDomain(observed.domain, applied);
  NoteFree(desired, applied);
  if (observed.domain.running) {
    NotePorts(desired, observed, applied);
    *record->mutable_last_live() = observed.domain.live;
  }
  if (observed.guest.has_value()) NoteGuest(desired, *observed.guest, record);
  if (converged) record->set_applied_generation(record->generation());
  if (MessageDifferencer::Equals(before, *record)) return false;
  if (converged) record->set_applied_ms(now_ms);
  return true;
}

}  // namespace rum
