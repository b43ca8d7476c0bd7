#include "controller/aspects/plug_ports.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "state/item_name.h"

namespace rum {
namespace {

// What takes a port, by the fields of the file, in the order in which they get one.
std::vector<std::string> TakersOfPorts(const Config& config) {
  std::vector<std::string> takers;
  for (const auto& [field, card] : CardItemsOf(config.network())) takers.push_back(field);
  std::set<std::string> drives;
  for (const auto& [name, drive] : config.drives()) drives.insert(absl::StrCat("drives.", name));
  takers.insert(takers.end(), drives.begin(), drives.end());
  for (const Mount& mount : config.mounts()) takers.push_back(TakerOfFolder(MountTag(mount)));
  return takers;
}

// Of cards that go while the machine runs, which they do before anything comes.
unsigned PortsOfLeavingCards(const Scene& scene) {
  if (!scene.observed.guest.has_value() || !scene.observed.guest->sets_up_cards()) return 0;
  const auto wanted = CardItemsOf(scene.desired.network());
  unsigned leaving = 0;
  for (const auto& card : CardItemsOf(scene.observed.domain.live.network())) {
    if (std::find(wanted.begin(), wanted.end(), card) == wanted.end()) ++leaving;
  }
  return leaving;
}

}  // namespace

std::string TakerOfFolder(const std::string& tag) { return absl::StrCat("mounts, tag ", tag); }

std::vector<std::pair<std::string, std::string>> CardItemsOf(const Network& network) {
  std::vector<std::pair<std::string, std::string>> cards;
  if (network.nat()) cards.emplace_back("network.nat", "nat");
  for (const Interface& interface : network.interfaces()) {
    cards.emplace_back(ItemName("network.interfaces", {interface.network()}),
                       absl::StrCat("network:", interface.network()));
  }
  return cards;
}

Way WayToPlug(const Scene& scene, const std::string& field) {
  const DomainState& domain = scene.observed.domain;
  std::vector<std::string> there = TakersOfPorts(domain.live);
  for (const auto& [tag, source] : domain.leaving_folders) there.push_back(TakerOfFolder(tag));
  unsigned before = 0;
  for (const std::string& taker : TakersOfPorts(scene.desired)) {
    if (taker == field) break;
    if (std::find(there.begin(), there.end(), taker) == there.end()) ++before;
  }
  if (before < domain.ports->free + PortsOfLeavingCards(scene)) return {Way::kLive, ""};
  return {Way::kRestart,
          absl::StrCat("no free PCIe port (", domain.ports->all, " are reserved at start)")};
}

}  // namespace rum
