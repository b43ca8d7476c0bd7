// Network cards of a running machine, seen from inside: plugged in, exchanged and taken out, while
// a connection and a running program live through all of it.
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "tests/e2e/live_world.h"
#include "tests/eventually.h"

namespace rum::e2e {
namespace {

std::string Card(const std::string& network, const std::string& ip = "") {
  const std::string table = "[[network.interfaces]]\nnetwork = \"" + network + "\"\n";
  return ip.empty() ? table : table + "ip = \"" + ip + "\"\n";
}

std::string FieldOf(const std::string& network) { return "network.interfaces[" + network + "]"; }

class LiveCards : public LiveTest {
 protected:
  static void SetUpTestSuite() { Begin(); }
  static void BringLive(const std::string& cards, bool nat = true) {
    world_->file.nat = nat;
    LiveTest::BringLive(cards);
  }
  // Nobody listens on it: only who is there refuses.
  static bool IsThere(const std::string& address) {
    const Result knock = e2e::Run({"bash", "-c", "exec 3<>/dev/tcp/" + address + "/9"});
    return Contains(knock.err, "Connection refused");
  }
  static void ExpectAddress(const std::string& network, const std::string& address) {
    EXPECT_TRUE(Eventually([&] { return ItemOf(FieldOf(network)).text() == address; }))
        << ItemOf(FieldOf(network)).ShortDebugString();
    EXPECT_EQ(world_->Guest("ip -o -4 address show to " + address + " | wc -l"), "1");
    EXPECT_TRUE(IsThere(address));
  }
  static std::string Cards() { return world_->Guest("ls -d /sys/class/net/*/device | wc -l"); }
  // Of the card on the network whose name ends like that.
  static std::string MacOn(const std::string& network) {
    std::istringstream lines(world_->Virsh({"domiflist", world_->DomainName()}).out);
    for (std::string line; std::getline(lines, line);) {
      if (Contains(line, network + " ")) return line.substr(line.find(':') - 2, 17);
    }
    return "";
  }
  static std::string OwnNetworks() { return world_->Virsh({"net-list", "--all", "--name"}).out; }
};

TEST_F(LiveCards, ADryRunSaysWhichWayItGoesBeforeItGoes) {
  world_->file.nat = false;
  const std::string said = ReloadWith(Card("lan"), {"--dry-run"});
  EXPECT_TRUE(Contains(said, "plug the network card on lan in")) << said;
  EXPECT_TRUE(Contains(said, "unplug the network card with a way out")) << said;
  EXPECT_FALSE(Contains(said, "restart")) << said;
  EXPECT_TRUE(Contains(Reload({"--dry-run", "--no-live"}), "restart"));
}

TEST_F(LiveCards, ACardIsAddedGetsItsAddressAndIsExchangedForOneWithAnother) {
  BringLive(Card("lan", "192.168.231.9"));
  ExpectAddress("lan", "192.168.231.9");
  EXPECT_EQ(world_->Guest("ip route show default | wc -l"), "1") << "no way out but NAT's";
  const std::string before = MacOn(".lan");
  BringLive(Card("lan", "192.168.232.7"));
  ExpectAddress("lan", "192.168.232.7");
  EXPECT_EQ(MacOn(".lan"), before);
  EXPECT_EQ(world_->Guest("ip -o link | grep -c " + before), "1");
  EXPECT_EQ(Cards(), "2");
}

TEST_F(LiveCards, TheCardWithTheWayOutGoesAndComesAndTheForwardLives) {
  BringLive(Card("lan", "192.168.232.7"), false);
  EXPECT_EQ(Cards(), "1");
  EXPECT_EQ(world_->Guest("ip route show default | wc -l"), "0");
  BringLive("", false);
  EXPECT_EQ(Cards(), "0") << "rum needs none";
  EXPECT_FALSE(Contains(OwnNetworks(), ".lan")) << "it went with its card";
  BringLive("");
  EXPECT_TRUE(Eventually([] { return world_->Guest("ip route show default | wc -l") == "1"; }));
}

TEST_F(LiveCards, WhereTheGuestHasNoRuleTheAgentMakesOneThatGoesWithTheCard) {
  world_->Guest(
      "cp /etc/systemd/network/80-dhcp.network /run/theirs; "
      "sed -i \"s/^Name=.*/Name=$(ls -d /sys/class/net/*/device | cut -d/ -f5)/\" "
      "/etc/systemd/network/80-dhcp.network; networkctl reload");
  BringLive(Card("lab", "192.168.233.5"));
  ExpectAddress("lab", "192.168.233.5");
  EXPECT_EQ(world_->Guest("ls /etc/systemd/network/95-rum-*.network | wc -l"), "1");
  // Somebody takes the rule away.
  world_->Guest(
      "rm /etc/systemd/network/95-rum-*; networkctl reload; "
      "ip address flush to 192.168.233.0/24");
  EXPECT_TRUE(Eventually([] { return ItemOf(FieldOf("lab")).state() == Item::DRIFTED; }))
      << ItemOf(FieldOf("lab")).ShortDebugString();
  EXPECT_TRUE(Contains(Reload(), "Set up the network card on lab"));
  ExpectAddress("lab", "192.168.233.5");
  BringLive("");
  EXPECT_EQ(world_->Guest("ls /etc/systemd/network/95-rum-* 2>/dev/null | wc -l"), "0");
  EXPECT_EQ(world_->Guest("cat /var/lib/rum/cards"), "");
  world_->Guest("cp /run/theirs /etc/systemd/network/80-dhcp.network; networkctl reload");
}

TEST_F(LiveCards, WhatSomebodyElsePluggedInStaysAndWhatHeTookOutIsPutBack) {
  BringLive(Card("lab", "192.168.233.5"));
  const std::string domain = world_->DomainName();
  const std::string theirs = "52:54:00:aa:bb:cc";
  ASSERT_EQ(world_
                ->Virsh({"attach-interface", domain, "network", "default", "--mac", theirs,
                         "--model", "virtio", "--live"})
                .exit_status,
            0);
  const std::string mac = MacOn(".lab");
  ASSERT_EQ(
      world_->Virsh({"detach-interface", domain, "network", "--mac", mac, "--live"}).exit_status, 0)
      << mac;
  const Item gone = ItemOf(FieldOf("lab"));
  EXPECT_EQ(gone.state(), Item::DRIFTED);
  EXPECT_EQ(gone.moved_by(), Item::LIBVIRT);
  EXPECT_TRUE(Contains(Reload(), "Plugged the network card on lab in"));
  ExpectSilence();
  ExpectAddress("lab", "192.168.233.5");
  EXPECT_TRUE(Contains(world_->Virsh({"domiflist", domain}).out, theirs));
  world_->Virsh({"detach-interface", domain, "network", "--mac", theirs, "--live"});
}

TEST_F(LiveCards, AControllerKilledBetweenTwoStepsIsNoReasonForHalfAChange) {
  int last = 20;
  for (const char* failpoint : {"card:plugged", "card:released", "card:defined"}) {
    const std::string address = "192.168.233." + std::to_string(++last);
    const std::string cards = Contains(failpoint, "released") ? "" : Card("lab", address);
    world_->file.more = cards;
    ReloadTwice(failpoint);
    if (!cards.empty()) ExpectAddress("lab", address);
    EXPECT_EQ(Cards(), cards.empty() ? "1" : "2") << failpoint;
  }
  Connect();
  BringLive("");
}

}  // namespace
}  // namespace rum::e2e
