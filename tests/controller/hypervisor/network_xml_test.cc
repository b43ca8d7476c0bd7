#include "controller/hypervisor/network_xml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "controller/hypervisor/definition.h"
#include "controller/hypervisor/host_subnets.h"

namespace rum {
namespace {

constexpr uint32_t k192 = 192U << 24 | 168U << 16;

TEST(Subnet, OverlapsWhatHoldsItOrIsInIt) {
  const Subnet lan = *SubnetOf("192.168.5.77");
  EXPECT_EQ(lan.Text(), "192.168.5.0/24");
  EXPECT_TRUE(lan.Overlaps({k192, 16}));
  EXPECT_TRUE((Subnet{k192 | 5 << 8 | 128, 25}).Overlaps(lan));
  EXPECT_FALSE(lan.Overlaps(*SubnetOf("192.168.6.1")));
  EXPECT_TRUE(lan.Overlaps({0, 0}));
  EXPECT_EQ(SubnetOf(""), std::nullopt);
  EXPECT_EQ(SubnetOf("fd00::1"), std::nullopt);
}

TEST(FreeSubnet, IsTheWishedOneOrTheNextThatNobodyUses) {
  EXPECT_EQ(FreeSubnet({}, 200)->Text(), "192.168.200.0/24");
  const std::vector<Subnet> used = {*SubnetOf("192.168.255.9"), *SubnetOf("192.168.0.1")};
  EXPECT_EQ(FreeSubnet(used, 255)->Text(), "192.168.1.0/24");
  EXPECT_EQ(FreeSubnet({{k192, 16}}, 7)->Text(), "172.16.7.0/24");
  const Subnet k172 = {172U << 24 | 16U << 16, 12}, k10 = {10U << 24, 8};
  EXPECT_EQ(FreeSubnet({{k192, 16}, k172}, 300)->Text(), "10.1.44.0/24");
  EXPECT_TRUE(absl::IsResourceExhausted(FreeSubnet({{k192, 16}, k172, k10}, 7).status()));
}

TEST(ReadRoutes, AreWhatIsRoutedAnywhereButEverythingAndOurselves) {
  const std::string table =
      "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
      "eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
      "tun0\t00000080\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0\n"
      "tun0\t0000A8C0\t00000000\t0001\t0\t0\t50\t0000FFFF\t0\t0\t0\n"
      "virbr7\t0005A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
      "damaged\n";
  EXPECT_EQ(ReadRoutes(table, "virbr7"), (std::vector<Subnet>{{k192, 16}}));
  EXPECT_EQ(ReadRoutes(table, "").size(), 2u);
  EXPECT_EQ(ReadRoutes("", ""), std::vector<Subnet>());
}

TEST(NetworkXml, ReadsBackWhatItWrote) {
  HostNetwork network;
  network.name = OwnNetworkName("0123456789ab", "lan <&'");
  network.uuid = "6c4c1ee4-2a7b-4b52-9c14-2c3a3a5c8a00";
  network.subnet = *SubnetOf("192.168.77.5");
  network.reservations["52:54:00:00:00:01"] = "192.168.77.5";
  const std::string xml = MakeNetworkXml(network);
  const absl::StatusOr<NetworkFacts> facts = ReadNetworkXml(xml);
  ASSERT_TRUE(facts.ok()) << facts.status();
  EXPECT_EQ(facts->network, network) << xml;
  EXPECT_EQ(xml.find("<forward"), std::string::npos) << "no way out";
}

TEST(NetworkXml, OfOthersIsReadForItsSubnets) {
  const absl::StatusOr<NetworkFacts> facts = ReadNetworkXml(
      "<network><name>default</name><forward mode='nat'/><ip address='192.168.122.1' "
      "netmask='255.255.252.0'/><ip family='ipv6' address='fd00::1' prefix='64'/></network>");
  ASSERT_TRUE(facts.ok());
  ASSERT_EQ(facts->subnets.size(), 1u);
  EXPECT_EQ(facts->subnets[0].Text(), "192.168.120.0/22");
  EXPECT_FALSE(ReadNetworkXml("<domain/>").ok());
}

TEST(OwnNetworkName, IsTheMachinesAlone) {
  EXPECT_EQ(OwnNetworkName("0123456789ab", "lan"), "rum-0123456789ab.lan");
}

}  // namespace
}  // namespace rum
