#include "tests/controller/model.h"

#include <algorithm>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "controller/aspects/disk_room.h"
#include "controller/aspects/folder_room.h"
#include "controller/aspects/ports.h"
#include "controller/aspects/setting.h"
#include "controller/decide/record_update.h"
#include "controller/decide/status.h"
#include "controller/hypervisor/definition.h"
#include "state/identity.h"
#include "state/names.h"
#include "tests/fakes/hypervisor/fake_room.h"

namespace rum {
namespace {

void AddPort(uint32_t host, uint32_t guest, Config* config) {
  Port* port = config->add_ports();
  port->set_bind("127.0.0.1");
  port->set_host(host);
  port->set_guest(guest);
}

std::string Name(const Action& action) {
  std::string name = action.field();
  switch (action.kind_case()) {
    case Action::kDefineDomain:
      return action.define_domain().reset() ? "domain: reset" : "domain: define";
    case Action::kStartDomain:
      return "domain: start";
    case Action::kSetForwards:
      for (const Port& port : action.set_forwards().added()) {
        absl::StrAppend(&name, " +", PortText(port));
      }
      for (const Port& port : action.set_forwards().removed()) {
        absl::StrAppend(&name, " -", PortText(port));
      }
      return name;
    case Action::kSetHostname:
      return absl::StrCat(name, " ", action.set_hostname().before(), " → ",
                          action.set_hostname().after());
    case Action::kSetSetting:
      return absl::StrCat(name, " ", action.set_setting().before(), " → ",
                          action.set_setting().after());
    case Action::kSetCpus:
      return absl::StrCat(name, " ", action.set_cpus().before(), " → ", action.set_cpus().after());
    case Action::kSetMemory:
      return absl::StrCat(name, " ", action.set_memory().before_mb(), " → ",
                          action.set_memory().after_mb());
    case Action::kSetGroups:
      for (const std::string& group : action.set_groups().add()) {
        absl::StrAppend(&name, " +", group);
      }
      for (const std::string& group : action.set_groups().remove()) {
        absl::StrAppend(&name, " -", group);
      }
      return name;
    case Action::kSetAuthorizedKeys:
      for (const std::string& key : action.set_authorized_keys().add()) {
        absl::StrAppend(&name, " +", KeyName(key));
      }
      for (const std::string& key : action.set_authorized_keys().remove()) {
        absl::StrAppend(&name, " -", KeyName(key));
      }
      return name;
    case Action::kSetStorage:
      for (const std::string& target : action.set_storage().made()) {
        absl::StrAppend(&name, " +", target);
      }
      for (const std::string& target : action.set_storage().removed()) {
        absl::StrAppend(&name, " -", target);
      }
      return name;
    case Action::kChangeDisk:
      return absl::StrCat(name, " ", Action::ChangeDisk::What_Name(action.change_disk().what()));
    case Action::kAdoptFilesystems:
      return name + " adopt";
    case Action::kChangeCard:
      return absl::StrCat(name, " ", Action::ChangeCard::What_Name(action.change_card().what()));
    case Action::kSetUpCards:
      return name + " set up";
    case Action::kChangeFolder:
      return absl::StrCat(name, " ",
                          Action::ChangeFolder::What_Name(action.change_folder().what()));
    case Action::kAdoptMounts:
      return name + " adopt";
    case Action::kRunScript:
      return absl::StrCat(name, action.run_script().rerun() ? " again" : "");
    case Action::kForgetBootScript:
      return name + " forget";
    case Action::KIND_NOT_SET:
      break;
  }
  return "nothing";
}

// As a guest that has just booted, and of whose memory a quarter is in use.
void TellResources(Observed* observed) {
  const Resources& live = observed->domain.live.resources();
  agent::Resources* const told = observed->guest->mutable_resources();
  told->set_cpus(live.cpus());
  told->set_cpus_there(live.cpus());
  told->set_memory_kib(live.memory_mb() * 1024);
  told->set_available_kib(live.memory_mb() * 768);
}

}  // namespace

Plan Model::MakePlan(const PlanOptions& options) const {
  return rum::MakePlan(desired, record, observed, options);
}

MachineStatus Model::Status(int64_t now_ms) const {
  return MakeStatus(desired, record, observed, now_ms);
}

bool Model::NoteObserved(bool converged, int64_t now_ms) {
  return rum::NoteObserved(desired, Judge(desired, record, observed, PlanOptions()), converged,
                           now_ms, &record);
}

void Model::Apply(const Plan& plan) {
  for (const Action& action : plan.actions()) Apply(action);
  NoteObserved(true, 1);
}

void Model::Define() {
  DomainState& domain = observed.domain;
  std::optional<Config> present;
  if (domain.defined) present = domain.persistent;
  if (domain.defined && domain.running) present = WithSizesOf(domain.live, *std::move(present));
  domain.persistent = DefinitionFor(desired, present);
  domain.defined = true;
}

void Model::ChangeDisk(const Action::ChangeDisk& change) {
  Config& live = observed.domain.live;
  const std::string& drive = change.drive();
  if (change.what() == Action::ChangeDisk::UNPLUG) {
    live.mutable_drives()->erase(drive);
  } else if (drive.empty()) {
    live.mutable_resources()->set_disk(change.size());
  } else {
    (*live.mutable_drives())[drive].set_size(change.size());
  }
  const std::string serial = drive.empty() ? "rum.root" : DriveSerial(drive);
  for (agent::DriveState& seen : *observed.guest->mutable_drives()) {
    if (seen.serial() == serial) seen.set_grows(false);
  }
}

// As `wanted` has it, if it does.
void Model::ChangeCard(const std::string& card, const Network& wanted) {
  Network* const live = observed.domain.live.mutable_network();
  if (card == "nat") return live->set_nat(wanted.nat());
  const Network before = *live;
  live->clear_interfaces();
  const auto is_it = [&](const Interface& one) { return "network:" + one.network() == card; };
  for (const Interface& other : before.interfaces()) {
    if (!is_it(other)) *live->add_interfaces() = other;
  }
  for (const Interface& one : wanted.interfaces()) {
    if (is_it(one)) *live->add_interfaces() = one;
  }
}

// Null: it mounts nothing of it.
void Model::SetMount(const std::string& tag, const Mount* mount) {
  google::protobuf::RepeatedPtrField<Mount> mounts;
  observed.domain.leaving_folders.erase(tag);
  for (const Mount& other : observed.domain.live.mounts()) {
    if (MountTag(other) != tag) *mounts.Add() = other;
  }
  if (mount != nullptr) *mounts.Add() = *mount;
  observed.domain.live.mutable_mounts()->Swap(&mounts);
}

void Model::ChangeFolder(const Action::ChangeFolder& change) {
  const Folder folder = FolderRoom(desired, observed.domain).Of(change.tag());
  SetMount(change.tag(), folder.wanted);
  observed.domain.virtiofs = true;
  agent::Shares* const shares = observed.guest->mutable_shares();
  for (agent::ShareState& share : *shares->mutable_leaving()) share.clear_used();
}

void Model::Apply(const Action& action) {
  NoteIntent(desired, observed, action, &record);
  DomainState& domain = observed.domain;
  // Those of what runs write the definition first.
  if (action.has_define_domain() || action.has_set_cpus() || action.has_set_memory()) {
    if (action.define_domain().reset()) domain.defined = false;
    Define();
  }
  if (action.has_set_cpus()) {
    const uint32_t cpus = action.set_cpus().after();
    Resources* const live = domain.live.mutable_resources();
    live->set_cpus(std::max(live->cpus(), cpus));
    observed.guest->mutable_resources()->set_cpus(cpus);
    observed.guest->mutable_resources()->set_cpus_there(live->cpus());
  } else if (action.has_set_memory()) {
    const uint64_t used_mb =
        domain.live.resources().memory_mb() - observed.guest->resources().available_kib() / 1024;
    FakeResize(action.set_memory().after_mb(), &domain);
    observed.guest->mutable_resources()->set_available_kib(
        (domain.live.resources().memory_mb() - used_mb) * 1024);
    observed.guest->mutable_resources()->clear_offline_kib();
  } else if (action.has_start_domain()) {
    domain.running = true;
    domain.live = domain.persistent;
    domain.room = FakeRoom(domain.live);
    if (observed.guest.has_value()) TellResources(&observed);
  } else if (action.has_set_forwards()) {
    observed.forwards.clear();
    for (const Port& port : action.set_forwards().wanted()) {
      ForwardState state;
      state.forward = {port.bind(), static_cast<uint16_t>(port.host()),
                       static_cast<uint16_t>(port.guest())};
      observed.forwards.push_back(state);
    }
  } else if (action.has_set_hostname()) {
    observed.guest->set_hostname(action.set_hostname().after());
    observed.guest->set_static_hostname(action.set_hostname().after());
  } else if (action.has_set_setting()) {
    observed.guest->mutable_settings()->MergeFrom(
        RequestFor(action.field(), action.set_setting().after()));
  } else if (action.has_set_groups()) {
    std::set<std::string> groups(observed.guest->groups().begin(), observed.guest->groups().end());
    for (const std::string& group : action.set_groups().add()) groups.insert(group);
    for (const std::string& group : action.set_groups().remove()) groups.erase(group);
    observed.guest->clear_groups();
    for (const std::string& group : groups) observed.guest->add_groups(group);
  } else if (action.has_set_authorized_keys()) {
    std::set<std::string> keys(observed.guest->authorized_keys().begin(),
                               observed.guest->authorized_keys().end());
    for (const std::string& key : action.set_authorized_keys().add()) {
      keys.insert(KeyWithoutComment(key));
    }
    for (const std::string& key : action.set_authorized_keys().remove()) {
      keys.erase(KeyWithoutComment(key));
    }
    observed.guest->mutable_authorized_keys()->Assign(keys.begin(), keys.end());
  } else if (action.has_set_storage()) {
    observed.guest->clear_stale_targets();
    for (agent::VolumeState& state : *observed.guest->mutable_volumes()) state.set_holds(true);
  } else if (action.has_change_disk()) {
    Define();
    ChangeDisk(action.change_disk());
  } else if (action.has_adopt_filesystems()) {
    Define();
    *domain.live.mutable_fs() =
        AdoptedFs(domain.live, desired, action.adopt_filesystems().changed());
  } else if (action.has_change_card()) {
    Define();
    ChangeCard(action.change_card().card(), domain.persistent.network());
  } else if (action.has_set_up_cards()) {
    observed.guest->clear_stale_cards();
    for (agent::CardState& state : *observed.guest->mutable_card_states()) {
      if (state.curable()) state.clear_problem();
    }
  } else if (action.has_change_folder()) {
    Define();
    ChangeFolder(action.change_folder());
  } else if (action.has_adopt_mounts()) {
    Define();
    for (const Mount& mount :
         FolderRoom(desired, domain).Adopting(action.adopt_mounts().changed()).mounts)
      SetMount(MountTag(mount), &mount);
  } else if (action.has_forget_boot_script()) {
    observed.guest->clear_boot_script_hash();
  } else if (action.has_run_script()) {
    if (action.run_script().kind() == "boot") {
      observed.guest->set_boot_script_hash(action.run_script().content_hash());
    }
    agent::ScriptRun run = EndedRun(action.run_script().kind(), action.run_script().script(),
                                    observed.guest->boot_id(), 0);
    run.set_run_id(action.run_script().run_id());
    *observed.guest->add_runs() = run;
  }
  NoteDone(action, &record);
}

Config SampleConfig() {
  Config config;
  config.mutable_image()->set_base("/images/debian.qcow2");
  config.mutable_resources()->set_cpus(2);
  config.mutable_resources()->set_memory_mb(1024);
  config.mutable_resources()->set_disk(20ULL << 30);
  config.mutable_network()->set_nat(true);
  config.mutable_network()->set_hostname("dev");
  config.mutable_provision()->mutable_system()->set_script("echo system");
  config.mutable_provision()->mutable_boot()->set_script("echo boot");
  AddPort(8080, 80, &config);
  AddPort(5432, 5432, &config);
  config.mutable_user()->set_name("rum");
  config.mutable_user()->add_groups("docker");
  config.mutable_user()->add_groups("wheel");
  config.mutable_advanced()->set_domain_type("auto");
  config.mutable_advanced()->set_machine("q35");
  config.mutable_reconcile()->set_auto_(true);
  config.mutable_reconcile()->set_live(true);
  return config;
}

Model Converged(const Config& desired) {
  Model model;
  model.desired = desired;
  NoteDesired(desired, &model.record);
  PlanOptions up;
  up.start = true;
  model.Apply(model.MakePlan(up));
  model.observed.guest.emplace();
  model.observed.guest->set_boot_id("boot-1");
  TellResources(&model.observed);
  model.observed.guest->set_hostname("localhost");
  model.Apply(model.MakePlan());
  return model;
}

agent::ScriptRun EndedRun(const std::string& kind, const std::string& script,
                          const std::string& boot_id, int exit_status) {
  agent::ScriptRun run;
  run.set_kind(kind);
  run.set_content_hash(Sha256Hex(script));
  run.set_boot_id(boot_id);
  run.set_run_id(absl::StrCat(kind, "-", Sha256Hex(script + boot_id).substr(0, 8), exit_status));
  run.set_started_ms(1);
  run.set_ended_ms(2);
  run.set_exit_status(exit_status);
  return run;
}

std::vector<std::string> Names(const Plan& plan) {
  std::vector<std::string> names;
  for (const Action& action : plan.actions()) names.push_back(Name(action));
  return names;
}

std::vector<std::string> Waiting(const Plan& plan) {
  std::vector<std::string> lines;
  for (const Change& change : plan.waiting()) {
    lines.push_back(absl::StrCat(change.field(), " ", change.before(), " → ", change.after(), " ",
                                 Effect_Name(change.effect())));
  }
  return lines;
}

}  // namespace rum
