#include <algorithm>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "controller/hypervisor/domain_xml.h"
#include "controller/report.h"
#include "controller/storage.h"
#include "controller/utf8.h"
#include "state/item_name.h"
#include "state/names.h"

namespace rum {
namespace {

constexpr char kHostname[] = "network.hostname";
constexpr char kGroups[] = "user.groups";
constexpr char kKeys[] = "ssh.authorized_keys";
constexpr char kStorage[] = "storage";

// A restart brings the agent of this rum's seed, whichever is there now.
void ReportAgent(Report* report) {
  const std::string& why = report->observed().guest->not_replaced();
  if (why.empty()) return;
  report->Add("agent", Item::NEEDS_RESTART, Item::GUEST, "another build", "rum's own", why);
}

bool IsCut(const Report& report, const std::string& list) {
  const auto& cut = report.observed().guest->cut();
  return std::find(cut.begin(), cut.end(), list) != cut.end();
}

// What an answer could not hold. What the file is about is told before all else, so that the items
// themselves are right.
void ReportCut(Report* report) {
  for (const auto& [list, field, what] :
       {std::tuple("groups", kGroups, "groups of the user"),
        std::tuple("authorized_keys", kKeys, "keys of the user"),
        std::tuple("stale_targets", kStorage, "earlier volumes")}) {
    if (!IsCut(*report, list)) continue;
    report->Add(field, Item::FAILING, Item::GUEST, "too many", "",
                absl::StrCat("the guest has more ", what, " than its agent can tell: those that ",
                             "the file does not name are not all looked at"));
  }
}

void ReportHostname(Report* report) {
  const Action* action = report->ActionOf(kHostname);
  const std::string& wanted = report->desired().network().hostname();
  const agent::Observation& guest = *report->observed().guest;
  if (action == nullptr) {
    report->AddHolding(kHostname, wanted.empty() ? ToUtf8(guest.hostname()) : wanted);
    return;
  }
  const bool named = guest.hostname() == wanted && guest.static_hostname() == wanted;
  const std::string now = named ? "absent from /etc/hosts" : action->set_hostname().before();
  report->AddCurable(
      kHostname, kHostname, report->MovedBy(kHostname, wanted, Item::GUEST), now, wanted,
      named ? absl::StrCat("/etc/hosts in the guest lacks ", wanted, ": ", report->Remedy("added"))
            : absl::StrCat(now, " in the guest, ", wanted, " wanted: ", report->Remedy("set")));
}

void ReportGroups(Report* report) {
  const Action* action = report->ActionOf(kGroups);
  if (action == nullptr) {
    const auto& wanted = report->desired().user().groups();
    const std::set<std::string> groups(wanted.begin(), wanted.end());
    report->AddHolding(kGroups, groups.empty() ? "none" : absl::StrJoin(groups, ", "));
    return;
  }
  for (const std::string& group : action->set_groups().add()) {
    const std::string field = ItemName(kGroups, {group});
    const Item::Author author = report->MovedBy(field, group, Item::GUEST);
    report->AddCurable(field, kGroups, author, "", group,
                       absl::StrCat(group, " missing in the guest: ",
                                    report->Remedy(author == Item::GUEST ? "restored" : "added")));
  }
  for (const std::string& group : action->set_groups().remove()) {
    report->AddCurable(
        ItemName(kGroups, {group}), kGroups, Item::FILE, group, "",
        absl::StrCat(group, " is no longer in the file: ", report->Remedy("removed")));
  }
}

// The addresses of each card that the live definition has.
void ReportCards(Report* report) {
  const MachineRecord& record = report->record();
  const MachineIdentity machine{record.config_path(), record.name(), record.id()};
  const Network& network = report->observed().domain.live.network();
  std::vector<std::pair<std::string, std::string>> cards;  // field and what its MAC is made from
  if (network.nat()) cards.emplace_back("network.nat", "nat");
  for (const Interface& interface : network.interfaces()) {
    cards.emplace_back(ItemName("network.interfaces", {interface.network()}),
                       absl::StrCat("network:", interface.network()));
  }
  for (const auto& [field, name] : cards) {
    const std::string mac = CardMac(machine, name);
    bool told = false;
    for (const agent::Card& card : report->observed().guest->cards()) {
      if (card.mac() != mac) continue;
      told = true;
      const bool any = !card.addresses().empty();
      report->AddHolding(field, any ? absl::StrJoin(card.addresses(), ", ") : "no address");
    }
    // Those with an address are told first, and so it has none.
    if (!told && IsCut(*report, "cards")) {
      report->Add(field, Item::FAILING, Item::GUEST, "not told", "",
                  "the guest has more network cards than its agent can tell, and this one is not "
                  "among those with an address");
    }
  }
}

void ReportKeys(Report* report) {
  const Action* action = report->ActionOf(kKeys);
  const int keys = report->desired().ssh().authorized_keys_size();
  if (action == nullptr) {
    if (keys > 0) report->AddHolding(kKeys, absl::StrCat(keys, keys == 1 ? " key" : " keys"));
    return;
  }
  const auto& there = report->observed().guest->authorized_keys();
  for (const std::string& key : action->set_authorized_keys().add()) {
    if (std::find(there.begin(), there.end(), KeyWithoutComment(key)) != there.end()) {
      report->AddCurable(kKeys, kKeys, Item::FILE, "", KeyName(key),
                         absl::StrCat(KeyName(key), " has other options in the file: ",
                                      report->Remedy("changed")));
      continue;
    }
    const Item::Author author = report->MovedBy(kKeys, KeyName(key), Item::GUEST);
    report->AddCurable(kKeys, kKeys, author, "", KeyName(key),
                       absl::StrCat(KeyName(key), " missing in the guest: ",
                                    report->Remedy(author == Item::GUEST ? "restored" : "added")));
  }
  for (const std::string& key : action->set_authorized_keys().remove()) {
    report->AddCurable(
        kKeys, kKeys, Item::FILE, KeyName(key), "",
        absl::StrCat(KeyName(key), " is no longer in the file: ", report->Remedy("removed")));
  }
}

void ReportStorage(Report* report) {
  const agent::Observation& guest = *report->observed().guest;
  const std::vector<agent::Volume> volumes = VolumesOf(report->observed().domain);
  for (size_t i = 0; i < volumes.size() && i < static_cast<size_t>(guest.volumes_size()); ++i) {
    if (guest.volumes(static_cast<int>(i)).holds()) {
      report->AddHolding(FieldOf(volumes[i]), "mounted");
      continue;
    }
    report->AddCurable(FieldOf(volumes[i]), kStorage, Item::GUEST, "not mounted", "mounted",
                       absl::StrCat("not mounted: ", report->Remedy("mounted")));
  }
  for (const std::string& bytes : guest.stale_targets()) {
    const std::string target = ToUtf8(bytes);
    report->AddCurable(
        kStorage, kStorage, Item::FILE, target, "",
        absl::StrCat(target, " is no longer the machine's: ", report->Remedy("unmounted")));
  }
}

}  // namespace

void ReportGuest(Report* report) {
  ReportAgent(report);
  ReportCut(report);
  ReportHostname(report);
  ReportGroups(report);
  ReportCards(report);
  ReportKeys(report);
  ReportStorage(report);
}

}  // namespace rum
