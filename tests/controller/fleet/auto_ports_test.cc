#include "controller/fleet/auto_ports.h"

#include <gtest/gtest.h>

#include <set>

namespace rum {
namespace {

Config TwoAutos() {
  Config config;
  for (const uint32_t guest : {80u, 80u, 5432u}) {
    Port* port = config.add_ports();
    port->set_bind("127.0.0.1");
    port->set_guest(guest);
    port->set_auto_(true);
  }
  return config;
}

bool AnyPort(const std::string&, uint16_t) { return true; }

TEST(AutoPorts, EachGetsAPortOfItsOwnBelowTheEphemeralOnes) {
  Config config = TwoAutos();
  FillAutoPorts("m", MachineRecord(), AnyPort, &config);
  std::set<uint32_t> hosts;
  for (const Port& port : config.ports()) {
    EXPECT_GE(port.host(), 20000u);
    EXPECT_LT(port.host(), 32000u);
    hosts.insert(port.host());
  }
  EXPECT_EQ(hosts.size(), 3u);
}

TEST(AutoPorts, AChoiceStaysWhateverIsFreeLater) {
  Config config = TwoAutos();
  FillAutoPorts("m", MachineRecord(), AnyPort, &config);
  MachineRecord record;
  RememberAutoPorts(config, &record);
  Config later = TwoAutos();
  // Our own listeners hold them by now.
  FillAutoPorts(
      "m", record, [](const std::string&, uint16_t) { return false; }, &later);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(later.ports(i).host(), config.ports(i).host());
  // Another forward comes before the others.
  Config longer;
  longer.add_ports()->set_host(8080);
  longer.MergeFrom(TwoAutos());
  FillAutoPorts("m", record, AnyPort, &longer);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(longer.ports(i + 1).host(), config.ports(i).host());
}

TEST(AutoPorts, WhatSomebodyElseHoldsIsNotChosen) {
  Config free = TwoAutos();
  FillAutoPorts("m", MachineRecord(), AnyPort, &free);
  const uint32_t first = free.ports(0).host();
  Config config = TwoAutos();
  FillAutoPorts(
      "m", MachineRecord(), [&](const std::string&, uint16_t port) { return port != first; },
      &config);
  for (const Port& port : config.ports()) EXPECT_NE(port.host(), first);
  // Nor what the file gives to another forward, though it was chosen once.
  MachineRecord record;
  RememberAutoPorts(free, &record);
  Config written = TwoAutos();
  written.add_ports()->set_host(first);
  FillAutoPorts("m", record, AnyPort, &written);
  EXPECT_NE(written.ports(0).host(), first);
}

TEST(AutoPorts, TheRecordForgetsWhatIsNoLongerInTheFile) {
  Config config = TwoAutos();
  FillAutoPorts("m", MachineRecord(), AnyPort, &config);
  MachineRecord record;
  RememberAutoPorts(config, &record);
  ASSERT_EQ(record.auto_ports_size(), 3);
  config.mutable_ports()->RemoveLast();
  RememberAutoPorts(config, &record);
  EXPECT_EQ(record.auto_ports_size(), 2);
}

TEST(AutoPorts, APortThatSomethingListensOnCannotBeBound) {
  EXPECT_FALSE(CanBind("not an address", 1));
  EXPECT_FALSE(CanBind("192.0.2.1", 20000));  // no interface has it
}

}  // namespace
}  // namespace rum
