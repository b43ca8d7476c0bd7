// network.nat and network.interfaces: the machine's cards. That it has them is libvirt's word, and
// they come and go while it runs as far as it has ports for them; that they get an address is the
// guest's, whose agent sees to those to which nobody there does. rum's forwards need none of them.
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "controller/aspects/aspects.h"
#include "controller/aspects/plug_ports.h"
#include "controller/aspects/resources.h"
#include "controller/aspects/worlds.h"
#include "controller/base/failpoint.h"
#include "controller/base/utf8.h"
#include "controller/hypervisor/domain_xml.h"
#include "state/item_name.h"

namespace rum {
namespace {

constexpr char kCards[] = "cards";
constexpr char kNat[] = "network.nat";
constexpr char kInterfaces[] = "network.interfaces";
constexpr char kKnowsNoCards[] =
    "the agent in the guest is of an older rum, which changes no network cards while the machine "
    "runs";

// By the fields of the file.
using CardNames = std::map<std::string, std::string>;

CardNames CardsIn(const Config& config) {
  const auto items = CardItemsOf(config.network());
  return {items.begin(), items.end()};
}

CardNames AllCards(const Config& one, const Config& other) {
  CardNames all = CardsIn(one);
  all.merge(CardsIn(other));
  return all;
}

std::string ActionOfCard(const std::string& card) { return ItemName(kCards, {card}); }

std::string NameOfCard(const std::string& card) {
  const size_t colon = card.find(':');
  return colon == std::string::npos ? "the network card with a way out"
                                    : absl::StrCat("the network card on ", card.substr(colon + 1));
}

MachineIdentity MachineOf(const MachineRecord& record) {
  return {record.config_path(), record.name(), record.id()};
}

std::optional<Way> WayOfCards(const Scene& scene, const FieldChange& change) {
  const DomainState& domain = scene.observed.domain;
  for (const auto& [field, card] : AllCards(scene.desired, domain.live)) {
    if (!IsWithin(change.field, field)) continue;
    const auto& guest = scene.observed.guest;
    // Nobody knows of a guest that does not answer what it would make of it.
    if (!guest.has_value()) return Way{Way::kRestart, change.reason};
    if (!guest->sets_up_cards()) return Way{Way::kRestart, kKnowsNoCards};
    if (!domain.ports.has_value()) return Way{Way::kRestart, change.reason};
    const bool there = CardsIn(domain.live).count(field) > 0;
    return there ? Way{Way::kLive, ""} : WayToPlug(scene, field);
  }
  return std::nullopt;
}

class CardsJudge {
 public:
  explicit CardsJudge(const Scene& scene)
      : scene_(scene),
        domain_(scene.observed.domain),
        machine_(MachineOf(scene.record)),
        wanted_(CardsIn(scene.desired)),
        there_(CardsIn(domain_.live)) {}

  Verdict Run() {
    NoteApplied();
    if (!scene_.observed.guest.has_value()) return std::move(verdict_);
    // What goes makes room for what comes.
    for (const auto& [field, card] : there_) {
      if (wanted_.count(field) == 0) JudgeChanges(field, card, Action::ChangeCard::UNPLUG);
    }
    for (const auto& [field, card] : wanted_) {
      const bool there = there_.count(field) > 0;
      JudgeChanges(field, card, there ? Action::ChangeCard::EXCHANGE : Action::ChangeCard::PLUG);
    }
    // In the order of the file.
    for (const auto& [field, card] : CardItemsOf(domain_.live.network())) {
      if (changing_.count(field) == 0) JudgeInGuest(field, card);
    }
    JudgeStale();
    if (set_up_.cards_size() + set_up_.gone_size() > 0)
      *verdict_.AddAction(kCards)->mutable_set_up_cards() = set_up_;
    return std::move(verdict_);
  }

 private:
  void NoteApplied() {
    if (!domain_.defined && !domain_.running) return;
    *verdict_.seen.mutable_applied() = domain_.running ? domain_.live : domain_.persistent;
    for (const char* field : {kNat, kInterfaces}) verdict_.Know(absl::StrCat("applied.", field));
  }

  // Of the card itself, or of its address or network.
  void JudgeChanges(const std::string& field, const std::string& card,
                    Action::ChangeCard::What what) {
    bool live = false;
    for (const FieldChange& change : scene_.now_changes) {
      if (!IsWithin(change.field, field)) continue;
      // What waits for a restart is the definition's to report.
      if (change.field == field) changing_.insert(field);
      if (!GoesLive(scene_, change)) continue;
      changing_.insert(field);
      live = true;
      const std::string will = what == Action::ChangeCard::PLUG     ? "plugged in"
                               : what == Action::ChangeCard::UNPLUG ? "unplugged"
                                                                    : "exchanged";
      Finding& finding = verdict_.AddCurable(
          change.field, ActionOfCard(card),
          MovedBy(scene_, change.field, change.after, Item::LIBVIRT), change.before, change.after,
          absl::StrCat(OrNone(change.before), " now, ", OrNone(change.after), " wanted"),
          Outlook(scene_, will));
      finding.item.set_known_by(Item::LIBVIRT);
    }
    if (!live) return;
    Action::ChangeCard* const change =
        verdict_.AddAction(ActionOfCard(card))->mutable_change_card();
    change->set_what(what);
    change->set_card(card);
  }

  static std::string OrNone(const std::string& value) { return value.empty() ? "absent" : value; }

  // That it has an address, or somebody sees to that.
  void JudgeInGuest(const std::string& field, const std::string& card) {
    const std::string mac = CardMac(machine_, card);
    bool told = false;
    for (const agent::Card& seen : scene_.observed.guest->cards()) {
      if (seen.mac() != mac) continue;
      told = true;
      if (!seen.addresses().empty()) {
        verdict_.AddHolding(field, absl::StrJoin(seen.addresses(), ", "));
      } else {
        JudgeWithoutAddress(field, card, mac);
      }
    }
    // Those with an address are told first, and so it has none.
    if (!told && IsCut(scene_, kCards)) {
      verdict_.Add(field, Item::FAILING, Item::GUEST, "not told", "",
                   "the guest has more network cards than its agent can tell, and this one is not "
                   "among those with an address");
    }
  }

  void JudgeWithoutAddress(const std::string& field, const std::string& card,
                           const std::string& mac) {
    const agent::CardState* state = nullptr;
    for (const agent::CardState& each : scene_.observed.guest->card_states()) {
      if (each.mac() == mac) state = &each;
    }
    if (state == nullptr || state->problem().empty()) {
      verdict_.AddHolding(field, "no address");
      return;
    }
    constexpr char kNone[] = "no address";
    constexpr char kSome[] = "an address";
    const std::string what = absl::StrCat(kNone, ": ", ToUtf8(state->problem()));
    const Item::Author author = MovedBy(scene_, field, kSome, Item::GUEST);
    if (!state->curable()) {
      verdict_.Add(field, Item::PENDING, author, kNone, kSome, what);
      return;
    }
    set_up_.add_cards(card);
    verdict_.AddCurable(field, kCards, author, kNone, kSome, what, Outlook(scene_, "set up"));
  }

  void JudgeStale() {
    for (const std::string& mac : scene_.observed.guest->stale_cards()) {
      set_up_.add_gone(mac);
      verdict_.AddCurable(kCards, kCards, Item::FILE, mac, "",
                          absl::StrCat("the guest still has rum's settings for the card ", mac,
                                       ", which is no longer the machine's"),
                          Outlook(scene_, "removed"));
    }
  }

  const Scene& scene_;
  const DomainState& domain_;
  const MachineIdentity machine_;
  const CardNames wanted_, there_;
  std::set<std::string> changing_;  // fields
  Action::SetUpCards set_up_;
  Verdict verdict_;
};

Verdict JudgeCards(const Scene& scene) { return CardsJudge(scene).Run(); }

// The guest's half: it waits for `awaited` and sets them up where nobody does. What is `leaving`
// takes with it what was made for it.
absl::Status TellGuestOfCards(const Worlds& worlds, const std::set<std::string>& awaited,
                              const std::string& leaving) {
  agent::SetCardsRequest request;
  for (const auto& [field, card] : AllCards(worlds.desired, worlds.observed.domain.live)) {
    const std::string mac = CardMac(worlds.machine, card);
    if (card != leaving) request.add_macs(mac);
    if (awaited.count(card) > 0) request.add_awaited(mac);
  }
  return worlds.agent->SetCards(request);
}

absl::Status SetUpInGuest(const Action::SetUpCards& set, const Worlds& worlds, Deed* deed) {
  std::vector<std::string> names;
  for (const std::string& card : set.cards()) names.push_back(NameOfCard(card));
  deed->message = names.empty() ? "Removed the settings of a network card that is gone"
                                : absl::StrCat("Set up ", absl::StrJoin(names, ", "));
  return TellGuestOfCards(worlds, {set.cards().begin(), set.cards().end()}, "");
}

absl::Status PlugCardIn(const Action::ChangeCard& change, const Worlds& worlds, Deed* deed) {
  const absl::Status plugged =
      worlds.hypervisor.ChangeCard(worlds.machine, {CardChange::kPlug, change.card()});
  if (!plugged.ok()) return plugged;
  Failpoint("card:plugged");
  deed->message = change.what() == Action::ChangeCard::EXCHANGE
                      ? absl::StrCat("Exchanged ", NameOfCard(change.card()))
                      : absl::StrCat("Plugged ", NameOfCard(change.card()), " in");
  return WithContext("plugged in, but not set up", TellGuestOfCards(worlds, {change.card()}, ""));
}

absl::Status TakeCardOut(const Action::ChangeCard& change, const Worlds& worlds, Deed* deed) {
  const absl::Status released = TellGuestOfCards(worlds, {}, change.card());
  if (!released.ok()) return released;
  Failpoint("card:released");
  deed->message = absl::StrCat("Unplugged ", NameOfCard(change.card()));
  return worlds.hypervisor.ChangeCard(worlds.machine, {CardChange::kUnplug, change.card()});
}

// The definition for the next start first: what is missed after it is seen by the next look.
absl::Status ActOnCards(const Action& action, const Worlds& worlds, Deed* deed) {
  if (worlds.agent == nullptr) return absl::UnavailableError("network cards: no agent");
  if (action.has_set_up_cards())
    return WithContext("network cards", SetUpInGuest(action.set_up_cards(), worlds, deed));
  const Action::ChangeCard& change = action.change_card();
  if (absl::Status written = WriteDefinition(worlds); !written.ok()) return written;
  Failpoint("card:defined");
  return WithContext(NameOfCard(change.card()), change.what() == Action::ChangeCard::UNPLUG
                                                    ? TakeCardOut(change, worlds, deed)
                                                    : PlugCardIn(change, worlds, deed));
}

void AskAboutCards(const Config&, const MachineRecord& record, const DomainState& domain,
                   agent::ObserveRequest* request) {
  for (const auto& [field, card] : CardItemsOf(domain.live.network()))
    request->add_cards(CardMac(MachineOf(record), card));
}

}  // namespace

Aspect CardsAspect() {
  return {.name = kCards,
          .fields = {kNat, kInterfaces},
          .known_by = Item::GUEST,
          .judge = JudgeCards,
          .act = ActOnCards,
          .way = WayOfCards,
          .ask = AskAboutCards};
}

}  // namespace rum
