#include "cli/action_text.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "state/item_name.h"
#include "state/names.h"
#include "state/size.h"

namespace rum {
namespace {

std::string PortText(const Port& port) {
  const bool usual = port.bind() == "127.0.0.1";
  const std::string host = usual ? absl::StrCat(port.host()) : HostPort(port.bind(), port.host());
  return absl::StrCat(host, "→", port.guest());
}

std::string Forwards(const Action::SetForwards& forwards) {
  std::vector<std::string> parts;
  for (const auto& [ports, word] :
       {std::pair{&forwards.added(), "added "}, {&forwards.removed(), "removed "}}) {
    for (const Port& port : *ports) parts.push_back(absl::StrCat(word, PortText(port)));
  }
  return absl::StrJoin(parts, ", ");
}

std::string Groups(const Action::SetGroups& groups) {
  std::vector<std::string> parts;
  if (groups.add_size() > 0)
    parts.push_back(absl::StrCat("add ", groups.user(), " to ", absl::StrJoin(groups.add(), ", ")));
  if (groups.remove_size() > 0) {
    parts.push_back(
        absl::StrCat("remove ", groups.user(), " from ", absl::StrJoin(groups.remove(), ", ")));
  }
  return absl::StrJoin(parts, "; ");
}

using Names = google::protobuf::RepeatedPtrField<std::string>;

// "added A, B; removed C"
std::string AddedAndRemoved(const Names& added, const Names& removed) {
  std::vector<std::string> parts;
  if (!added.empty()) parts.push_back(absl::StrCat("added ", absl::StrJoin(added, ", ")));
  if (!removed.empty()) parts.push_back(absl::StrCat("removed ", absl::StrJoin(removed, ", ")));
  return absl::StrJoin(parts, "; ");
}

Names KeyNames(const Names& lines) {
  Names names;
  for (const std::string& line : lines) *names.Add() = KeyName(line);
  return names;
}

std::string Definition(const Action::DefineDomain& define) {
  if (!define.reset()) return "write the new definition for the next start";
  const std::string drives = absl::StrJoin(define.drives(), ", ");
  if (drives.empty()) return "make the machine anew, with a fresh root disk";
  return define.reset_drives()
             ? absl::StrCat("make the machine anew, with a fresh root disk and fresh drives ",
                            drives)
             : absl::StrCat("make the machine anew, with a fresh root disk; drives ", drives,
                            " stay");
}

std::string Disk(const Action::ChangeDisk& change) {
  const std::string name =
      change.drive().empty() ? "the root disk" : absl::StrCat("drive ", change.drive());
  switch (change.what()) {
    case Action::ChangeDisk::PLUG:
      return absl::StrCat("plug ", name, " in (", FormatSize(change.size()), ")");
    case Action::ChangeDisk::UNPLUG:
      return absl::StrCat("unplug ", name);
    default:
      if (change.before() == change.size()) return absl::StrCat("grow the filesystem of ", name);
      return absl::StrCat("grow ", name, " ", FormatSize(change.before()), " → ",
                          FormatSize(change.size()));
  }
}

std::string NameOfCard(const std::string& card) {
  const size_t colon = card.find(':');
  return colon == std::string::npos ? "with a way out"
                                    : absl::StrCat("on ", card.substr(colon + 1));
}

std::string Card(const Action::ChangeCard& change) {
  const std::string name = absl::StrCat("the network card ", NameOfCard(change.card()));
  switch (change.what()) {
    case Action::ChangeCard::PLUG:
      return absl::StrCat("plug ", name, " in");
    case Action::ChangeCard::UNPLUG:
      return absl::StrCat("unplug ", name);
    default:
      return absl::StrCat("exchange ", name, " while it runs");
  }
}

std::string SetUp(const Action::SetUpCards& set) {
  if (set.cards().empty()) return "remove the settings of a network card that is gone";
  std::vector<std::string> names;
  for (const std::string& card : set.cards()) names.push_back(NameOfCard(card));
  return absl::StrCat("set up the network card ", absl::StrJoin(names, ", "));
}

std::string SharedFolder(const Action::ChangeFolder& change) {
  const std::string& source = change.source();
  if (change.what() == Action::ChangeFolder::ATTACH)
    return absl::StrCat("share ", source, " at ", change.target());
  return absl::StrCat("take the shared folder ", source, " out",
                      change.target().empty() ? "" : absl::StrCat(" (", change.target(), ")"));
}

}  // namespace

std::string ItemOf(const Action::AdoptFilesystems& adopt) {
  return adopt.changed().empty() ? "fs" : *adopt.changed().rbegin();
}

std::string WouldDo(const Action& action) {
  switch (action.kind_case()) {
    case Action::kDefineDomain:
      return Definition(action.define_domain());
    case Action::kStartDomain:
      return "start the machine";
    case Action::kSetForwards:
      return absl::StrCat("update port forwards (", Forwards(action.set_forwards()), ")");
    case Action::kSetHostname:
      return absl::StrCat("set hostname ", action.set_hostname().before(), " → ",
                          action.set_hostname().after());
    case Action::kSetSetting:
      return absl::StrCat("set ", action.field().substr(action.field().rfind('.') + 1), " ",
                          action.set_setting().before(), " → ", action.set_setting().after());
    case Action::kSetCpus:
      return absl::StrCat("set vCPUs ", action.set_cpus().before(), " → ",
                          action.set_cpus().after(), " while it runs");
    case Action::kSetMemory:
      return absl::StrCat("set memory ", action.set_memory().before_mb(), " → ",
                          action.set_memory().after_mb(), " MiB while it runs");
    case Action::kSetGroups:
      return Groups(action.set_groups());
    case Action::kSetAuthorizedKeys: {
      const Action::SetAuthorizedKeys& keys = action.set_authorized_keys();
      return absl::StrCat("update authorized keys (",
                          AddedAndRemoved(KeyNames(keys.add()), KeyNames(keys.remove())), ")");
    }
    case Action::kSetStorage:
      return absl::StrCat(
          "update mounts (",
          AddedAndRemoved(action.set_storage().made(), action.set_storage().removed()), ")");
    case Action::kChangeDisk:
      return Disk(action.change_disk());
    case Action::kAdoptFilesystems:
      return absl::StrCat("change what the machine mounts (", ItemOf(action.adopt_filesystems()),
                          ")");
    case Action::kChangeCard:
      return Card(action.change_card());
    case Action::kSetUpCards:
      return SetUp(action.set_up_cards());
    case Action::kChangeFolder:
      return SharedFolder(action.change_folder());
    case Action::kAdoptMounts:
      return absl::StrCat("change what the machine mounts (",
                          absl::StrJoin(action.adopt_mounts().changed(), ", "), ")");
    case Action::kRunScript:
      return absl::StrCat(action.run_script().rerun() ? "re-run " : "run ",
                          action.run_script().kind(), " provisioning script");
    case Action::kForgetBootScript:
      return "take the boot provisioning script back from the guest";
    case Action::KIND_NOT_SET:
      break;
  }
  return action.field();
}

}  // namespace rum
