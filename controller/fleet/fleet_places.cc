// Of Controller: which machines there are, and where their files are now.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "controller/fleet/fleet.h"
#include "controller/fleet/fleet_looks.h"
#include "controller/hypervisor/domain_xml.h"
#include "state/place.h"

namespace rum {
namespace {

std::string FolderOf(const std::string& path) {
  return path.substr(0, std::max<size_t>(path.rfind('/'), 1));
}

std::string NameAndId(const Machine& machine) {
  return absl::StrCat(machine.identity().name, " (", machine.identity().id, ")");
}

}  // namespace

Controller::MachineOr Controller::FindMade(const std::string& config_path) {
  MachineOr machine = Find(config_path);
  if (!machine.ok()) return machine;
  const std::string meant = WhoIsMeant(**machine);
  if (meant.empty()) return machine;
  return absl::FailedPreconditionError(
      absl::StrCat((*machine)->identity().name, " is not defined: ", meant));
}

std::vector<std::shared_ptr<Machine>> Controller::MovedTo(const std::string& config_path) const {
  std::vector<std::shared_ptr<Machine>> moved;
  for (const auto& [id, machine] : Machines()) {
    if (!machine->made()) continue;
    const MachineRecord record = machine->Snapshot();
    const bool left = IsGone(record.config_path()) || LeadsTo(record.config_path(), config_path);
    if (left && MayHaveMovedTo(config_path, record)) {
      moved.push_back(machine);
    }
  }
  return moved;
}

std::string Controller::WhoIsMeant(const Machine& machine) const {
  if (machine.made()) return "";
  const std::vector<std::shared_ptr<Machine>> moved = MovedTo(machine.identity().config_path);
  if (moved.empty()) return "";
  if (moved.size() == 1) {
    return absl::StrCat("this looks like machine ", NameAndId(*moved[0]), " that was made in ",
                        FolderOf(moved[0]->identity().config_path),
                        ": `rum adopt` takes it over; `rum up --new` makes another one");
  }
  std::string text = "this looks like one of several machines whose files are gone:";
  for (const std::shared_ptr<Machine>& one : moved) {
    absl::StrAppend(&text, one == moved[0] ? " " : ", ", NameAndId(*one), " of ",
                    one->identity().config_path);
  }
  return text + "; `rum adopt ID` takes one over; `rum up --new` makes another one";
}

absl::StatusOr<std::string> Controller::Adopt(const std::string& config_path,
                                              const std::string& id) {
  const MachineOr here = Find(config_path);
  if (!here.ok()) return here.status();
  const std::string path =
      At(config_path) != nullptr ? config_path : (*here)->identity().config_path;
  if (IsGone(path)) return absl::NotFoundError(absl::StrCat(path, " does not exist"));
  std::shared_ptr<Machine> machine = Known(id);
  if (!id.empty() && (machine == nullptr || !machine->made())) {
    return absl::NotFoundError(absl::StrCat("there is no machine ", id));
  }
  if ((*here)->made()) {
    if (machine == *here) return path;  // it is here
    return absl::FailedPreconditionError(
        absl::StrCat(path, " has a machine already: ", NameAndId(**here)));
  }
  if (machine == nullptr) {
    const std::vector<std::shared_ptr<Machine>> moved = MovedTo(path);
    if (moved.size() > 1) return absl::FailedPreconditionError(WhoIsMeant(**here));
    if (moved.empty()) {
      return absl::NotFoundError(
          "no machine whose file is gone has this folder or this text: `rum list` shows all, "
          "`rum adopt ID` takes one over");
    }
    machine = moved[0];
  }
  const MachineRecord record = machine->Snapshot();
  // In its old place may stand another folder by now.
  const bool moved = SameFolder(record.folder(), FolderMarkOf(path)) &&
                     !SameFolder(record.folder(), FolderMarkOf(record.config_path()));
  if (!IsGone(record.config_path()) && !LeadsTo(record.config_path(), path) && !moved) {
    return absl::FailedPreconditionError(
        absl::StrCat("the file of ", NameAndId(*machine), " is still there: ", record.config_path(),
                     "; a folder that was copied is another machine"));
  }
  if (absl::Status adopted = MoveTo(machine, path); !adopted.ok()) return adopted;
  return record.config_path();
}

absl::Status Controller::MoveTo(const std::shared_ptr<Machine>& machine,
                                const std::string& config_path) {
  const std::string from = machine->identity().config_path;
  if (absl::Status moved = machine->MoveTo(config_path); !moved.ok()) return moved;
  std::shared_ptr<Machine> asked_about;  // under the new path, before anybody knew
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto at = by_path_.find(config_path);
    if (at != by_path_.end() && at->second != machine->identity().id) {
      asked_about = machines_.at(at->second);
      by_domain_.erase(asked_about->identity().domain_name());
      by_domain_.erase(DomainUuid(asked_about->identity()));
      machines_.erase(at->second);
    }
    by_path_.erase(from);
    by_path_[config_path] = machine->identity().id;
  }
  if (asked_about != nullptr) {
    loop_->Forget(asked_about->identity().id);
    // What was consented to under this path was so for a machine that will not be made.
    if (!asked_about->made()) parts_.store->Remove(asked_about->identity().id).IgnoreError();
    asked_about->Stop();  // who watches it asks again
  }
  watch_->Remove(from);
  if (machine->want_running()) LookAfter(machine);
  return absl::OkStatus();
}

// A machine of the build that resolved links gets the link for its file with the first command that
// changes something: then it stays the same when the link is exchanged.
absl::Status Controller::FollowLink(const std::shared_ptr<Machine>& machine,
                                    const std::string& config_path) {
  if (machine->identity().config_path == config_path || !machine->made()) return absl::OkStatus();
  const absl::StatusOr<MachineIdentity> asked = IdentityOf(config_path);
  if (!asked.ok() || asked->config_path == machine->identity().config_path ||
      IdThroughLink(asked->config_path) != machine->identity().id) {
    return absl::OkStatus();
  }
  return MoveTo(machine, asked->config_path);
}

std::vector<ListedMachine> Controller::List(bool brief, absl::Duration patience) {
  std::vector<ListedMachine> list;
  std::vector<std::shared_ptr<Machine>> made;
  for (const auto& [id, machine] : Machines()) {
    if (machine->made()) made.push_back(machine);
  }
  std::map<std::string, Looks::Seen> seen;
  if (!brief) seen = looks_->Ask(made, patience);
  for (const std::shared_ptr<Machine>& machine : made) {
    ListedMachine one;
    one.record = machine->Snapshot();
    one.record.set_id(machine->identity().id);
    one.record.set_name(machine->identity().name);
    one.record.set_config_path(machine->identity().config_path);
    one.file_gone = IsGone(one.record.config_path());
    const auto look = seen.find(machine->identity().id);
    if (look != seen.end()) one.status = look->second.status;
    if (look == seen.end()) {
      one.unknown = brief ? "nobody asked" : "libvirt does not answer";
    } else if (!look->second.libvirt_answered) {
      one.unknown = one.status.error();
    }
    list.push_back(std::move(one));
  }
  std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& [id, why] : unreadable_) {
    ListedMachine one;
    one.record.set_id(id);
    one.unknown = why;
    list.push_back(std::move(one));
  }
  std::sort(list.begin(), list.end(), [](const ListedMachine& a, const ListedMachine& b) {
    return std::make_pair(a.record.name(), a.record.config_path()) <
           std::make_pair(b.record.name(), b.record.config_path());
  });
  return list;
}

absl::StatusOr<ListedMachine> Controller::ListOne(const std::string& config_path) {
  const MachineOr machine = Find(config_path);
  if (!machine.ok()) return machine.status();
  ListedMachine one;
  one.record.set_id((*machine)->identity().id);
  one.record.set_name((*machine)->identity().name);
  one.record.set_config_path((*machine)->identity().config_path);
  one.file_gone = IsGone(one.record.config_path());
  one.unknown = "nobody asked";
  return one;
}

}  // namespace rum
