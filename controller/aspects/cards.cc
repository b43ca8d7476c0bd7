#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "controller/aspects/aspects.h"
#include "controller/hypervisor/domain_xml.h"
#include "state/item_name.h"

namespace rum {
namespace {

// The cards of the live definition, each as its item and what its MAC is made from.
std::vector<std::pair<std::string, std::string>> CardsOf(const Network& network) {
  std::vector<std::pair<std::string, std::string>> cards;
  if (network.nat()) cards.emplace_back("network.nat", "nat");
  for (const Interface& interface : network.interfaces()) {
    cards.emplace_back(ItemName("network.interfaces", {interface.network()}),
                       absl::StrCat("network:", interface.network()));
  }
  return cards;
}

// That there are such cards is the definition's; their addresses are the guest's.
Verdict JudgeCards(const Scene& scene) {
  Verdict verdict;
  if (!scene.observed.guest.has_value()) return verdict;
  const MachineRecord& record = scene.record;
  const MachineIdentity machine{record.config_path(), record.name(), record.id()};
  for (const auto& [field, name] : CardsOf(scene.observed.domain.live.network())) {
    const std::string mac = CardMac(machine, name);
    bool told = false;
    for (const agent::Card& card : scene.observed.guest->cards()) {
      if (card.mac() != mac) continue;
      told = true;
      const bool any = !card.addresses().empty();
      verdict.AddHolding(field, any ? absl::StrJoin(card.addresses(), ", ") : "no address");
    }
    // Those with an address are told first, and so it has none.
    if (!told && IsCut(scene, "cards")) {
      verdict.Add(field, Item::FAILING, Item::GUEST, "not told", "",
                  "the guest has more network cards than its agent can tell, and this one is not "
                  "among those with an address");
    }
  }
  return verdict;
}

}  // namespace

Aspect CardsAspect() {
  return {.name = "cards", .fields = {}, .known_by = Item::GUEST, .judge = JudgeCards};
}

}  // namespace rum
