// Network cards of a running machine, seen from inside: plugged in, exchanged and taken out, while
// a connection and a running program live through all of it.
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "tests/e2e/world.h"
#include "tests/eventually.h"

namespace rum::e2e {
namespace {

constexpr char kEcho[] =
    "setsid python3 -c '\n"
    "import socketserver\n"
    "class H(socketserver.BaseRequestHandler):\n"
    "  def handle(self):\n"
    "    while True:\n"
    "      d = self.request.recv(65536)\n"
    "      if not d: break\n"
    "      self.request.sendall(d)\n"
    "class S(socketserver.ThreadingTCPServer):\n"
    "  allow_reuse_address = True\n"
    "  daemon_threads = True\n"
    "s = S((\"127.0.0.1\", 7000), H)\n"
    "open(\"/run/echo-listens\", \"w\").close()\n"
    "s.serve_forever()\n"
    "' >/dev/null 2>&1 </dev/null &\n"
    "while [ ! -e /run/echo-listens ]; do sleep 0.1; done";

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string Card(const std::string& network, const std::string& ip = "") {
  const std::string table = "[[network.interfaces]]\nnetwork = \"" + network + "\"\n";
  return ip.empty() ? table : table + "ip = \"" + ip + "\"\n";
}

std::string FieldOf(const std::string& network) { return "network.interfaces[" + network + "]"; }

// One VM for all cases: they run in the order of this file and each leaves the machine in sync.
class LiveCards : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    world_ = new World(std::getenv("RUM_TEST_URI"), FirstBoot::kShort);
    world_->file.ports = {{FreePort(), 7000}};
    world_->Save();
    up_ = world_->Rum({"up", "-d"});
    if (up_.exit_status != 0) return;
    world_->Guest(kEcho);
    boot_id_ = world_->Guest(kBootId);
    connection_ = std::make_unique<EchoingConnection>(world_->file.ports[0].host);
  }
  static void TearDownTestSuite() {
    connection_.reset();
    delete world_;
    world_ = nullptr;
  }
  void SetUp() override { ASSERT_EQ(up_.exit_status, 0) << up_.out << up_.err; }

  static void Save(const std::string& cards, bool nat = true) {
    world_->file.more = cards;
    std::string text = world_->file.Toml();
    if (!nat) text.replace(text.find("[network]\n"), 10, "[network]\nnat = false\n");
    world_->SaveText(text);
  }
  static std::string Reload(const std::vector<std::string>& options = {}) {
    std::vector<std::string> words = {"reload"};
    words.insert(words.end(), options.begin(), options.end());
    const Result result = world_->Rum(words);
    EXPECT_EQ(result.exit_status, 0) << result.out << result.err;
    return result.out + result.err;
  }
  static void ExpectSilence() {
    const MachineStatus status = world_->Status();
    for (const Item& item : status.items()) {
      EXPECT_EQ(item.state(), Item::HOLDS) << item.ShortDebugString();
    }
  }
  static void BringLive(const std::string& cards, bool nat = true) {
    Save(cards, nat);
    const std::string said = Reload();
    EXPECT_FALSE(Contains(said, "restart")) << said;
    ExpectSilence();
    EXPECT_TRUE(connection_->Flows(1000));
    EXPECT_EQ(world_->Guest(kBootId), boot_id_);
  }
  static Item ItemOf(const std::string& field) {
    const MachineStatus status = world_->Status();
    for (const Item& item : status.items()) {
      if (item.field() == field) return item;
    }
    return Item();
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

  static constexpr char kBootId[] = "cat /proc/sys/kernel/random/boot_id";
  static inline World* world_ = nullptr;
  static inline Result up_;
  static inline std::string boot_id_;
  static inline std::unique_ptr<EchoingConnection> connection_;
};

TEST_F(LiveCards, ADryRunSaysWhichWayItGoesBeforeItGoes) {
  Save(Card("lan"), false);
  const std::string said = Reload({"--dry-run"});
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
    world_->StopController();
    Save(cards);
    EXPECT_NE(world_->Rum({"reload"}, "", {{"RUM_FAILPOINT", failpoint}}).exit_status, 0)
        << failpoint;
    Reload();
    ExpectSilence();
    if (!cards.empty()) ExpectAddress("lab", address);
    EXPECT_EQ(Cards(), cards.empty() ? "1" : "2") << failpoint;
  }
  connection_ = std::make_unique<EchoingConnection>(world_->file.ports[0].host);
  EXPECT_EQ(world_->Guest(kBootId), boot_id_);
}

}  // namespace
}  // namespace rum::e2e
