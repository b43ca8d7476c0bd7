// Network cards of a running machine, through the whole loop: what goes live of a change, what is
// set up in the guest, and what waits for which reason.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "controller/base/failpoint.h"
#include "controller/hypervisor/domain_xml.h"
#include "tests/controller/fake_world.h"

namespace rum {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string CardTable(const std::string& network, const std::string& ip = "") {
  return absl::StrCat("[[network.interfaces]]\nnetwork = \"", network, "\"\n",
                      ip.empty() ? "" : absl::StrCat("ip = \"", ip, "\"\n"));
}

// The table of the file with the network is that of the hostname.
void Save(const FakeWorld& world, const std::string& cards, bool nat) {
  std::string text = world.file.Toml();
  if (!nat) text.insert(text.find("hostname"), "nat = false\n");
  world.SaveText(text + cards);
}

std::vector<std::string> Reasons(const Seen& seen) {
  std::vector<std::string> reasons;
  for (const Change& change : seen.outcome.plan.waiting()) {
    reasons.push_back(absl::StrCat(change.field(), ": ", change.reason()));
  }
  return reasons;
}

class LiveCards : public testing::Test {
 protected:
  LiveCards() {
    world_.guest->sets_up_cards = true;
    Write("");
    machine_ = world_.NewMachine();
    EXPECT_FALSE(Apply(*machine_, Up()).outcome.failed);
    before_ = world_.hypervisor->Changes().size();
  }
  void Write(const std::string& cards, bool nat = true) { Save(world_, cards, nat); }
  Seen ApplyNow(const ApplyOptions& options = ApplyOptions()) { return Apply(*machine_, options); }
  // Since the machine came up, but for definitions.
  std::vector<std::string> Changes() {
    std::vector<std::string> changes = world_.hypervisor->Changes();
    changes.erase(changes.begin(), changes.begin() + static_cast<ptrdiff_t>(before_));
    changes.erase(std::remove(changes.begin(), changes.end(), "define"), changes.end());
    return changes;
  }
  DomainState Domain() { return *world_.hypervisor->Inspect(world_.identity); }
  // What runs and what the next start brings are the file's.
  void ExpectLive(const Seen& seen) {
    EXPECT_FALSE(seen.outcome.failed) << seen.outcome.error << testing::PrintToString(seen.failed);
    EXPECT_THAT(Reasons(seen), IsEmpty());
    const DomainState domain = Domain();
    EXPECT_EQ(domain.live.DebugString(), domain.persistent.DebugString());
    EXPECT_EQ(ApplyNow().outcome.actions, 0) << "twice is once";
  }
  std::string MacOfCard(const std::string& card) { return CardMac(world_.identity, card); }
  Item ItemOf(const std::string& field) {
    const MachineStatus status = machine_->Status();
    for (const Item& item : status.items()) {
      if (item.field() == field) return item;
    }
    return Item();
  }

  FakeWorld world_;
  std::unique_ptr<Machine> machine_;
  size_t before_ = 0;
};

TEST_F(LiveCards, ComeAndGoInAnyOrder) {
  Write(CardTable("lan") + CardTable("lab", "192.168.50.9"));
  const Seen seen = ApplyNow();
  ExpectLive(seen);
  EXPECT_THAT(Changes(), ElementsAre("plug network:lab", "plug network:lan"));
  EXPECT_THAT(seen.done, Contains("Plugged the network card on lab in"));
  Write(CardTable("new"), false);
  ExpectLive(ApplyNow());
  EXPECT_THAT(Changes(), ElementsAre("plug network:lab", "plug network:lan", "unplug network:lab",
                                     "unplug network:lan", "unplug nat", "plug network:new"))
      << "what goes makes room";
  Write("");
  ExpectLive(ApplyNow());
}

TEST_F(LiveCards, WithAnotherAddressAreExchanged) {
  Write(CardTable("lab", "192.168.50.9"));
  ExpectLive(ApplyNow());
  Write(CardTable("lab", "192.168.50.8"));
  const Seen seen = ApplyNow();
  ExpectLive(seen);
  EXPECT_THAT(Changes(), ElementsAre("plug network:lab", "exchange network:lab"));
  EXPECT_THAT(seen.done, ElementsAre("Exchanged the network card on lab"));
}

TEST_F(LiveCards, ToWhichNobodyInTheGuestSeesAreSetUpByTheAgentAndTakenBackWithThem) {
  const std::string mac = MacOfCard("network:lab");
  world_.guest->unseen_cards[mac] = "";
  Write(CardTable("lab"));
  ExpectLive(ApplyNow());
  EXPECT_THAT(world_.guest->own_cards, ElementsAre(mac));
  EXPECT_EQ(ItemOf("network.interfaces[lab]").state(), Item::HOLDS);
  Write(CardTable("lan"));
  ExpectLive(ApplyNow());
  EXPECT_THAT(world_.guest->own_cards, IsEmpty());
}

TEST_F(LiveCards, ThatCannotBeSetUpAreNotAppliedYetAndSayWhy) {
  world_.guest->unseen_cards[MacOfCard("network:lab")] = "the guest has no network manager";
  Write(CardTable("lab"));
  EXPECT_FALSE(ApplyNow().outcome.failed);
  const Item item = ItemOf("network.interfaces[lab]");
  EXPECT_EQ(item.state(), Item::PENDING);
  EXPECT_EQ(item.text(), "no address: the guest has no network manager");
  EXPECT_EQ(ApplyNow().outcome.actions, 0);
}

// Somebody took its rule away, or it was there when the guest booted.
TEST_F(LiveCards, ThatLoseTheirRuleGetItBack) {
  Write(CardTable("lab"));
  ExpectLive(ApplyNow());
  world_.guest->unseen_cards[MacOfCard("network:lab")] = "";
  EXPECT_EQ(ItemOf("network.interfaces[lab]").state(), Item::DRIFTED);
  EXPECT_THAT(ApplyNow().done, ElementsAre("Set up the network card on lab"));
  EXPECT_EQ(ItemOf("network.interfaces[lab]").state(), Item::HOLDS);
}

TEST_F(LiveCards, ThatWentByARestartLeaveNothingInTheGuest) {
  world_.guest->own_cards.insert("52:54:00:00:00:99");
  EXPECT_THAT(ApplyNow().done, ElementsAre(HasSubstr("Removed the settings")));
  EXPECT_THAT(world_.guest->own_cards, IsEmpty());
  EXPECT_EQ(ApplyNow().outcome.actions, 0);
}

TEST_F(LiveCards, WhatSomebodyUnpluggedIsPutBackAndHeIsNamed) {
  Write(CardTable("lab"));
  ExpectLive(ApplyNow());
  for (const char* card : {"nat", "network:lab"}) {
    ASSERT_EQ(world_.hypervisor->ChangeCard(world_.identity, {CardChange::kUnplug, card}),
              absl::OkStatus());
  }
  for (const char* field : {"network.nat", "network.interfaces[lab]"}) {
    const Item item = ItemOf(field);
    EXPECT_EQ(item.state(), Item::DRIFTED) << field;
    EXPECT_EQ(item.moved_by(), Item::LIBVIRT) << field;
    EXPECT_THAT(item.text(), HasSubstr("will be plugged in"));
  }
  ExpectLive(ApplyNow());
}

TEST_F(LiveCards, WaitForTheRestartUnderAnOlderAgentAndWithoutOne) {
  world_.guest->sets_up_cards = false;
  Write(CardTable("lab"), false);
  const std::string why =
      ": the agent in the guest is of an older rum, which changes no network cards while the "
      "machine runs";
  EXPECT_THAT(Reasons(ApplyNow()),
              testing::UnorderedElementsAre("network.interfaces[lab]" + why, "network.nat" + why));
  EXPECT_THAT(Changes(), IsEmpty());
  EXPECT_EQ(Domain().persistent.network().interfaces_size(), 1) << "any restart brings it";
}

TEST_F(LiveCards, ThatGoMakeRoomForWhatComes) {
  world_.hypervisor->SetPorts(PlugPorts{0, 8});
  ASSERT_FALSE(machine_->Down({}).failed);
  ASSERT_FALSE(ApplyNow(Up()).outcome.failed);
  Write(CardTable("lab"), false);
  ExpectLive(ApplyNow());
}

TEST_F(LiveCards, BeyondThePortsWaitForTheRestartAndDrivesComeAfterThem) {
  world_.guest->drives["rum.root"].set_size(20ULL << 30);
  world_.hypervisor->SetPorts(PlugPorts{1, 8});
  ASSERT_FALSE(machine_->Down({}).failed);
  ASSERT_FALSE(ApplyNow(Up()).outcome.failed);
  before_ = world_.hypervisor->Changes().size();
  Write(CardTable("lab") + CardTable("lan") + "[drives.a]\nsize = \"1G\"\n");
  const Seen seen = ApplyNow();
  EXPECT_FALSE(seen.outcome.failed) << seen.outcome.error;
  const std::string why = ": no free PCIe port (8 are reserved at start)";
  EXPECT_THAT(Reasons(seen),
              testing::UnorderedElementsAre("network.interfaces[lan]" + why, "drives.a" + why));
  EXPECT_THAT(Changes(), ElementsAre("plug network:lab"));
}

TEST_F(LiveCards, WaitWhereNothingIsToGoLive) {
  ApplyOptions no_live;
  no_live.no_live = true;
  Write(CardTable("lab"));
  EXPECT_THAT(Reasons(ApplyNow(no_live)), testing::SizeIs(1));
  EXPECT_THAT(Changes(), IsEmpty());
  ExpectLive(ApplyNow());
}

struct Crash {};

TEST(LiveCardsCrash, BetweenAnyTwoStepsIsCompletedByTheNextRound) {
  int cut = 0;
  for (bool crashed = true; crashed; ++cut) {
    ASSERT_LT(cut, 100);
    crashed = false;
    FakeWorld world;
    world.guest->sets_up_cards = true;
    Save(world, "", true);
    ASSERT_FALSE(Apply(*world.NewMachine(), Up()).outcome.failed);
    int passed = 0;
    for (const auto& [cards, nat] : std::vector<std::pair<std::string, bool>>{
             {CardTable("lab"), false}, {CardTable("lab", "192.168.50.9"), true}, {"", false}}) {
      world.guest->unseen_cards[CardMac(world.identity, "network:lab")] = "";
      Save(world, cards, nat);
      SetFailpointHook([&](const std::string&) {
        if (passed++ == cut) throw Crash();
      });
      try {
        Apply(*world.NewMachine());
      } catch (const Crash&) {
        crashed = true;
      }
      SetFailpointHook(nullptr);
      const Seen seen = Apply(*world.NewMachine());
      EXPECT_FALSE(seen.outcome.failed) << cut << seen.outcome.error;
      EXPECT_THAT(Reasons(seen), IsEmpty()) << cut;
      const DomainState domain = *world.hypervisor->Inspect(world.identity);
      EXPECT_EQ(domain.live.DebugString(), domain.persistent.DebugString()) << cut;
      EXPECT_EQ(world.guest->own_cards.empty(), cards.empty()) << cut;
    }
  }
  EXPECT_GE(cut, 15);
}

}  // namespace
}  // namespace rum
