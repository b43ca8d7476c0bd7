#include "cli/diff_text.h"

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/action_text.h"
#include "cli/mark.h"
#include "cli/terminal_text.h"
#include "state/diff.h"
#include "state/item_name.h"
#include "state/names.h"
#include "state/size.h"

namespace rum {
namespace {

constexpr char kLive[] = "live";
constexpr char kStart[] = "start";

const char* CostName(Effect effect) {
  switch (effect) {
    case LIVE:
    case NONE:
      return kLive;
    case LIVE_OPT_IN:
      return "live, opt-in";
    case RECREATE:
      return "recreate";
    default:
      return "restart";
  }
}

using Differences = google::protobuf::RepeatedPtrField<reports::Difference>;

void Add(const std::string& field, const std::string& before, const std::string& after,
         Differences* all) {
  reports::Difference* one = all->Add();
  one->set_field(field);
  one->set_before(before);
  one->set_after(after);
  one->set_effect(kLive);
}

void AddNames(const std::string& table, const google::protobuf::RepeatedPtrField<std::string>& gone,
              const google::protobuf::RepeatedPtrField<std::string>& come, Differences* all) {
  for (const std::string& name : gone) Add(ItemName(table, {name}), name, "", all);
  for (const std::string& name : come) Add(ItemName(table, {name}), "", name, all);
}

google::protobuf::RepeatedPtrField<std::string> KeyNamesOf(
    const google::protobuf::RepeatedPtrField<std::string>& lines) {
  google::protobuf::RepeatedPtrField<std::string> names;
  for (const std::string& line : lines) *names.Add() = KeyName(line);
  return names;
}

std::string PortName(const Port& port) {
  return ItemName("ports", {port.bind(), absl::StrCat(port.host())});
}

std::string GuestPort(const Port& port) { return absl::StrCat("guest ", port.guest()); }

// One port of the host that goes to another port of the guest is one difference.
void AddForwards(const Action::SetForwards& forwards, Differences* all) {
  std::map<std::string, std::pair<std::string, std::string>> ports;
  for (const Port& port : forwards.removed()) {
    ports[PortName(port)].first = GuestPort(port);
  }
  for (const Port& port : forwards.added()) {
    ports[PortName(port)].second = GuestPort(port);
  }
  for (const auto& [field, values] : ports) Add(field, values.first, values.second, all);
}

void AddDisk(const Action::ChangeDisk& change, Differences* all) {
  const std::string drive = absl::StrCat("drives.", change.drive());
  const std::string before = FormatSize(change.before());
  const std::string after = FormatSize(change.size());
  if (change.what() == Action::ChangeDisk::PLUG) return Add(drive, "", after, all);
  if (change.what() == Action::ChangeDisk::UNPLUG) return Add(drive, before, "", all);
  Add(change.drive().empty() ? "resources.disk" : absl::StrCat(drive, ".size"), before, after, all);
}

void AddCard(const Action::ChangeCard& change, const std::string& what, Differences* all) {
  const size_t colon = change.card().find(':');
  const std::string field = colon == std::string::npos
                                ? "network.nat"
                                : ItemName("network.interfaces", {change.card().substr(colon + 1)});
  const bool goes = change.what() == Action::ChangeCard::UNPLUG;
  Add(field, goes ? what : "", goes ? "" : what, all);
}

void AddFolder(const Action& action, Differences* all) {
  const Action::ChangeFolder& change = action.change_folder();
  const bool comes = change.what() == Action::ChangeFolder::ATTACH;
  Add(action.field(), comes ? "" : change.source(), comes ? change.source() : "", all);
}

void AddAction(const Action& action, Differences* all) {
  switch (action.kind_case()) {
    case Action::kSetForwards:
      return AddForwards(action.set_forwards(), all);
    case Action::kSetHostname:
      return Add(action.field(), action.set_hostname().before(), action.set_hostname().after(),
                 all);
    case Action::kSetCpus:
      return Add(action.field(), absl::StrCat(action.set_cpus().before()),
                 absl::StrCat(action.set_cpus().after()), all);
    case Action::kSetMemory:
      return Add(action.field(), absl::StrCat(action.set_memory().before_mb()),
                 absl::StrCat(action.set_memory().after_mb()), all);
    case Action::kSetGroups:
      return AddNames("user.groups", action.set_groups().remove(), action.set_groups().add(), all);
    case Action::kSetAuthorizedKeys:
      return AddNames("ssh.authorized_keys", KeyNamesOf(action.set_authorized_keys().remove()),
                      KeyNamesOf(action.set_authorized_keys().add()), all);
    case Action::kSetStorage:
      return AddNames("storage", action.set_storage().removed(), action.set_storage().made(), all);
    case Action::kChangeDisk:
      return AddDisk(action.change_disk(), all);
    case Action::kChangeCard:
      return AddCard(action.change_card(), WouldDo(action), all);
    case Action::kAdoptFilesystems:
      return Add(ItemOf(action.adopt_filesystems()), "", WouldDo(action), all);
    case Action::kChangeFolder:
      return AddFolder(action, all);
    case Action::kForgetBootScript:
      return Add(action.field(), "set in the guest", "", all);
    default:
      return Add(action.field(), "", WouldDo(action), all);
  }
}

void AddChange(const Change& change, const char* cost, Differences* all) {
  Add(change.field(), change.before(), change.after(), all);
  reports::Difference* one = &all->at(all->size() - 1);
  one->set_effect(cost);
  one->set_reason(change.reason());
}

std::string CostText(const reports::Difference& difference) {
  const std::string& effect = difference.effect();
  const std::string why = difference.reason().empty() ? "" : ": " + difference.reason();
  if (effect == "restart") return "needs a restart" + why;
  if (effect == "recreate")
    return absl::StrCat("needs a new disk (`", RecreateCommand(difference.field()), "`)", why);
  if (effect == "live, opt-in") return "`rum reload --force` runs it again";
  return effect == kStart ? "with the next start" : "live";
}

std::string Values(const reports::Difference& difference) {
  // Scripts are told apart by their file, not here.
  if (difference.effect() == "live, opt-in") return "";
  if (difference.before().empty() && difference.after().empty()) return "";
  if (difference.before().empty()) return ": " + difference.after();
  if (difference.after().empty()) return ": " + difference.before();
  return absl::StrCat(": ", difference.before(), " → ", difference.after());
}

std::string Sign(const reports::Difference& difference, const Style& style) {
  const bool comes = difference.before().empty() && !difference.after().empty();
  const bool goes = !difference.before().empty() && difference.after().empty();
  const char* sign = comes ? "+" : goes ? "-" : "~";
  if (!style.color) return sign;
  const char* color = comes ? "32" : goes ? "31" : "36";
  return absl::StrCat("\033[", color, "m", sign, "\033[0m");
}

}  // namespace

reports::DiffReport DiffOf(const Plan& plan) {
  reports::DiffReport diff;
  Differences* const all = diff.mutable_differences();
  for (const Change& change : plan.waiting()) AddChange(change, CostName(change.effect()), all);
  for (const Change& change : plan.at_start()) AddChange(change, kStart, all);
  for (const Action& action : plan.actions()) {
    // It carries what the others say, if they say anything.
    if (action.has_define_domain() && !all->empty()) continue;
    AddAction(action, all);
  }
  *diff.mutable_asks() = plan.asks();
  diff.set_standing(plan.standing());
  return diff;
}

std::string RenderDiff(const reports::DiffReport& diff, const Style& style) {
  std::string text;
  for (const reports::Difference& difference : diff.differences()) {
    text += Hanging(Sign(difference, style) + " ", 2,
                    OneLine(absl::StrCat(difference.field(), Values(difference), "  (",
                                         CostText(difference), ")"),
                            style.utf8),
                    style);
  }
  for (const Item& ask : diff.asks()) {
    absl::StrAppend(&text, Marked(Mark::kNeedsYou, style), " ",
                    OneLine(absl::StrCat(ask.field(), " ", ask.text()), style.utf8), "\n");
  }
  return text;
}

}  // namespace rum
