#include "agent-api/guest/card_setup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent-api/guest/text_file.h"
#include "tests/agent-api/guest/folder.h"

namespace rum::guest {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kMac[] = "52:54:00:00:00:01";
constexpr char kNetworkdRule[] = "/etc/systemd/network/95-rum-525400000001.network";
constexpr char kIfupdownRule[] = "/etc/network/interfaces.d/rum-525400000001";

void Ip(const std::string& words) {
  ASSERT_EQ(std::system(absl::StrCat("ip ", words).c_str()), 0) << words;
}

// Cards of a kernel's own, under a root on which the guest's network managers write what they do.
class CardSetupTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(unshare(CLONE_NEWNET), 0) << "this test needs root and namespaces";
    Put("/sys/class/net/card0/device", "");
  }
  void Put(const std::string& path, const std::string& text) const {
    fs::create_directories(fs::path(root_ + path).parent_path());
    std::ofstream(root_ + path + "+") << text;
    fs::rename(root_ + path + "+", root_ + path);
  }
  std::string Text(const std::string& path) const { return ReadFile(root_ + path); }
  void PlugIn() const {
    Ip("link add card0 type bridge");
    Ip(absl::StrCat("link set card0 address ", kMac));
  }
  static unsigned Index() { return LinksNow()->at(0).index; }
  void RunNetworkd() const {
    Put("/sys/fs/cgroup/system.slice/systemd-networkd.service/cgroup.procs", "");
    fs::create_directories(root_ + "/run/systemd/netif/links");
  }
  void NetworkdSays(const std::string& state) const {
    Put(absl::StrCat("/run/systemd/netif/links/", Index()),
        absl::StrCat("# Do not parse.\nADMIN_STATE=", state, "\nOPER_STATE=off\n"));
  }
  void UseIfupdown(const std::string& interfaces) {
    tools_.insert("ifup");
    Put("/etc/network/interfaces", interfaces);
    Put("/run/network/ifstate", "lo=lo\n");
  }
  agent::CardState Look() const {
    Cards cards;
    const std::vector<agent::CardState> states = setup_.Look({kMac}, cards.Now());
    return states.size() == 1 ? states[0] : agent::CardState();
  }
  absl::Status Set() { return setup_.Set({kMac}, {kMac}); }
  void ExpectLeft() {
    EXPECT_EQ(Look().problem(), "");
    EXPECT_EQ(Set(), absl::OkStatus());
    EXPECT_THAT(ran_, IsEmpty());
    EXPECT_EQ(Text(kNetworkdRule) + Text(kIfupdownRule), "");
    EXPECT_THAT(setup_.Stale({}), IsEmpty());
  }

  Folder folder_;
  const std::string root_ = folder_.path();
  std::set<std::string> tools_;
  std::vector<std::string> ran_;
  std::function<absl::Status(const std::string& command)> tool_;  // null: all do nothing, well
  CardSetup::Patience patience_{std::chrono::seconds(60), std::chrono::milliseconds(50)};
  CardSetup setup_{{root_, [this](const std::string& tool) { return tools_.count(tool) > 0; }},
                   [this](const std::vector<std::string>& argv) {
                     ran_.push_back(absl::StrJoin(argv, " "));
                     return tool_ ? tool_(ran_.back()) : absl::OkStatus();
                   },
                   patience_};
};

TEST_F(CardSetupTest, ACardWithoutARuleOfNetworkdsGetsOneWhichGoesWithIt) {
  PlugIn();
  RunNetworkd();
  NetworkdSays("unmanaged");
  EXPECT_EQ(Look().problem(), "systemd-networkd has no rule for it");
  EXPECT_TRUE(Look().curable());
  tool_ = [&](const std::string&) {
    EXPECT_EQ(setup_.Stale({}), std::vector<std::string>{kMac}) << "noted before it is there";
    EXPECT_THAT(Text(kNetworkdRule), HasSubstr(absl::StrCat("MACAddress=", kMac, "\n")));
    NetworkdSays("configuring");
    return absl::OkStatus();
  };
  EXPECT_EQ(Set(), absl::OkStatus());
  EXPECT_THAT(ran_, ElementsAre("networkctl reload"));
  EXPECT_EQ(Look().problem(), "");
  EXPECT_THAT(setup_.Stale({kMac}), IsEmpty());

  tool_ = nullptr;
  EXPECT_EQ(setup_.Set({}, {}), absl::OkStatus());
  EXPECT_FALSE(fs::exists(root_ + kNetworkdRule));
  EXPECT_THAT(ran_, ElementsAre("networkctl reload", "networkctl reload"));
  EXPECT_THAT(setup_.Stale({}), IsEmpty());
}

// The agent was killed between the rule and the word of it.
TEST_F(CardSetupTest, WhatWasBegunIsCompleted) {
  PlugIn();
  RunNetworkd();
  NetworkdSays("unmanaged");
  tool_ = [&](const std::string&) { return absl::FailedPreconditionError("no bus"); };
  EXPECT_THAT(Set().message(), HasSubstr("no bus"));
  EXPECT_TRUE(Look().curable());
  tool_ = [&](const std::string&) {
    NetworkdSays("configured");
    return absl::OkStatus();
  };
  EXPECT_EQ(Set(), absl::OkStatus());
  EXPECT_FALSE(Look().curable());
}

TEST_F(CardSetupTest, ARuleOfTheGuestsThatLeavesTheCardAloneIsObeyedAndTold) {
  patience_.appears = std::chrono::milliseconds(50);
  CardSetup hasty(
      {root_, [](const std::string&) { return false; }},
      [](const std::vector<std::string>&) { return absl::OkStatus(); }, patience_);
  PlugIn();
  RunNetworkd();
  NetworkdSays("unmanaged");
  EXPECT_EQ(hasty.Set({kMac}, {kMac}), absl::OkStatus());
  EXPECT_FALSE(fs::exists(root_ + kNetworkdRule));
  EXPECT_FALSE(Look().curable());
  EXPECT_THAT(Look().problem(), HasSubstr("told to leave it alone"));
}

TEST_F(CardSetupTest, WhatAManagerTakesIsLeftToIt) {
  PlugIn();
  RunNetworkd();
  NetworkdSays("configuring");
  ExpectLeft();
  fs::remove_all(root_ + "/sys/fs/cgroup");
  Put("/sys/fs/cgroup/system.slice/NetworkManager.service/cgroup.procs", "");
  Put(absl::StrCat("/run/NetworkManager/devices/", Index()), "[device]\nmanaged=true\n");
  ExpectLeft();
  fs::remove_all(root_ + "/sys/fs/cgroup");
  UseIfupdown("auto lo\niface lo inet loopback\n allow-hotplug \\\n eth9 card0\n");
  ExpectLeft();
  UseIfupdown("source /etc/network/interfaces.d/*\n");
  Put("/etc/network/interfaces.d/theirs", "iface card0 inet static\n");
  ExpectLeft();
  fs::remove(root_ + "/etc/network/interfaces.d/theirs");
  Put("/run/network/ifstate", "lo=lo\ncard0=card0\n");
  ExpectLeft();
}

TEST_F(CardSetupTest, WhatHasAnAddressOrIsPartOfABridgeNeedsNobody) {
  PlugIn();
  RunNetworkd();
  NetworkdSays("unmanaged");
  Put("/sys/class/net/card0/master", "");
  ExpectLeft();
  fs::remove(root_ + "/sys/class/net/card0/master");
  Put("/sys/class/net/card0/upper_vlan7", "");
  ExpectLeft();
  fs::remove(root_ + "/sys/class/net/card0/upper_vlan7");
  Ip("address add 192.0.2.7/24 dev card0");
  ExpectLeft();
}

// The bridge that a card is in has its address, and the rule of one would be that of both.
TEST_F(CardSetupTest, WhatHasNoDeviceIsNoCardOfTheMachines) {
  PlugIn();
  RunNetworkd();
  NetworkdSays("unmanaged");
  fs::remove(root_ + "/sys/class/net/card0/device");
  EXPECT_EQ(Look().problem(), "");
}

TEST_F(CardSetupTest, ACardAndTheWordOfItsManagerAreWaitedFor) {
  RunNetworkd();
  std::thread guest([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    std::system("ip link add card0 type bridge && ip link set card0 address 52:54:00:00:00:01");
    NetworkdSays("pending");
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    NetworkdSays("configured");
  });
  EXPECT_EQ(Set(), absl::OkStatus());
  EXPECT_THAT(ran_, IsEmpty());
  EXPECT_EQ(Look().problem(), "");
  guest.join();
}

TEST_F(CardSetupTest, ACardThatDoesNotComeIsAnError) {
  patience_.appears = std::chrono::milliseconds(1);
  CardSetup hasty({root_, nullptr}, nullptr, patience_);
  EXPECT_TRUE(absl::IsNotFound(hasty.Set({kMac}, {kMac})));
}

TEST_F(CardSetupTest, NetworkManagerIsObeyed) {
  PlugIn();
  Put("/run/NetworkManager/NetworkManager.pid", "77\n");
  Put("/proc/77/stat", "");
  Put(absl::StrCat("/run/NetworkManager/devices/", Index()), "[device]\nmanaged=false\n");
  EXPECT_EQ(Look().problem(), "") << "nobody asked for it";
  EXPECT_EQ(Set(), absl::OkStatus());
  EXPECT_EQ(Look().problem(), "NetworkManager is told to leave it alone");
  EXPECT_FALSE(Look().curable());
  EXPECT_FALSE(LinksNow()->at(0).up);
}

TEST_F(CardSetupTest, IfupdownGetsAFileOfItsOwnWhereItReadsOne) {
  PlugIn();
  const std::string main = "source-directory /etc/network/interfaces.d\nauto lo\n";
  UseIfupdown(main);
  EXPECT_TRUE(Look().curable());
  tool_ = [&](const std::string& command) {
    if (command == "ifup card0") Put("/run/network/ifstate", "lo=lo\ncard0=card0\n");
    return absl::OkStatus();
  };
  EXPECT_EQ(Set(), absl::OkStatus());
  EXPECT_THAT(ran_, ElementsAre("ifup card0"));
  EXPECT_THAT(Text(kIfupdownRule), HasSubstr("\nauto card0\niface card0 inet dhcp\n"));
  EXPECT_EQ(Text("/etc/network/interfaces"), main);
  EXPECT_EQ(Look().problem(), "");
  EXPECT_EQ(setup_.Set({}, {}), absl::OkStatus());
  EXPECT_THAT(ran_, ElementsAre("ifup card0", "ifdown card0"));
  EXPECT_FALSE(fs::exists(root_ + kIfupdownRule));

  UseIfupdown("auto lo\n");
  EXPECT_EQ(Set(), absl::OkStatus());
  EXPECT_THAT(Look().problem(), HasSubstr("/etc/network/interfaces does not name it"));
  EXPECT_FALSE(Look().curable());
}

// At boot ifupdown comes to a card after the agent has begun.
TEST_F(CardSetupTest, WhoHasNotBegunIsWaitedFor) {
  PlugIn();
  UseIfupdown("source /etc/network/interfaces.d/*\n");
  Put("/run/network/ifstate", "");
  EXPECT_EQ(Look().problem(), "");
  tools_.clear();
  Put("/run/systemd/system/on", "");
  Put("/run/nologin", "");
  EXPECT_EQ(Look().problem(), "");
}

TEST_F(CardSetupTest, WithoutAManagerTheCardIsBroughtUpAndThatIsTold) {
  PlugIn();
  EXPECT_EQ(Look().problem(), "") << "as the guest booted";
  EXPECT_EQ(Set(), absl::OkStatus());
  EXPECT_TRUE(LinksNow()->at(0).up);
  EXPECT_EQ(Look().problem(), "the guest has no network manager that rum knows");
  EXPECT_FALSE(Look().curable());
  Ip("address add 192.0.2.7/24 dev card0");
  EXPECT_EQ(Look().problem(), "");
}

TEST_F(CardSetupTest, AFileThatSomebodyMadeHisOwnStays) {
  PlugIn();
  RunNetworkd();
  NetworkdSays("unmanaged");
  Put(kNetworkdRule, "[Match]\nName=card0\n");
  EXPECT_THAT(Set().message(), HasSubstr("not as rum made it"));
  fs::remove(root_ + kNetworkdRule);
  tool_ = [&](const std::string&) {
    NetworkdSays("configuring");
    return absl::OkStatus();
  };
  EXPECT_EQ(Set(), absl::OkStatus());
  Put(kNetworkdRule, "[Match]\nName=card0\n");
  EXPECT_EQ(setup_.Set({}, {}), absl::OkStatus());
  EXPECT_EQ(Text(kNetworkdRule), "[Match]\nName=card0\n");
  EXPECT_THAT(setup_.Stale({}), IsEmpty());
}

}  // namespace
}  // namespace rum::guest
