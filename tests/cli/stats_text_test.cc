// Numbers of machines as people read them.
#include "cli/stats_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rum {
namespace {

using control::MachineStats;
using control::StatsReply;
using testing::HasSubstr;

const Style kUtf8{true, false, true};
constexpr int64_t kMib = 1 << 20;

MachineStats* AddMachine(const std::string& name, int64_t time_ms, StatsReply* reply) {
  MachineStats* machine = reply->add_machines();
  machine->set_id("id-" + name);
  machine->set_name(name);
  machine->set_running(true);
  machine->set_time_ms(time_ms);
  machine->set_cpus(2);
  machine->set_cpu_time_ms(61000);
  machine->set_memory_bytes(2048 * kMib);
  machine->set_memory_host_bytes(700 * kMib);
  return machine;
}

control::DiskStats* AddDisk(int64_t read, int64_t written, MachineStats* machine) {
  control::DiskStats* disk = machine->add_disks();
  disk->set_name("vda");
  disk->set_capacity_bytes(20480 * kMib);
  disk->set_host_bytes(1536 * kMib);
  disk->set_read_bytes(read);
  disk->set_written_bytes(written);
  return disk;
}

TEST(Stats, OneLookShowsWhatWasCounted) {
  StatsReply stats;
  MachineStats* machine = AddMachine("dev", 1000, &stats);
  machine->set_memory_guest_bytes(1960 * kMib);
  machine->set_memory_available_bytes(960 * kMib);
  AddDisk(100 * kMib, 50 * kMib, machine);
  control::CardStats* card = machine->add_cards();
  card->set_name("vnet0");
  card->set_received_bytes(1024);
  control::ForwardStats* forward = machine->add_forwards();
  forward->set_bytes_to_guest(3);
  EXPECT_EQ(
      RenderStats(stats, kUtf8),
      "NAME  CPU TIME   MEMORY IN GUEST      ON HOST  DISKS ON HOST        READ, WRITTEN      "
      "CARDS IN, OUT  FORWARDS IN, OUT\n"
      "dev   1m1s of 2  1000 MiB of 1.9 GiB  700 MiB  1.5 GiB of 20.0 GiB  100 MiB, 50.0 MiB  "
      "1.0 KiB, 0 B   3 B, 0 B\n");
}

TEST(Stats, WhatIsNotKnownIsADashAndNotNothing) {
  StatsReply stats;
  AddMachine("dev", 1000, &stats);
  MachineStats* off = stats.add_machines();
  off->set_name("off");
  MachineStats* unknown = stats.add_machines();
  unknown->set_name("far");
  unknown->set_reason("libvirt does not answer");
  const std::string text = RenderStats(stats, kUtf8);
  EXPECT_THAT(text, HasSubstr("- of 2.0 GiB"));
  EXPECT_THAT(text, HasSubstr("off   off"));
  EXPECT_THAT(text, HasSubstr("far   unknown"));
  EXPECT_THAT(text, HasSubstr("  far: libvirt does not answer\n"));
  EXPECT_EQ(RenderStats(StatsReply(), kUtf8), "no machines\n");
}

TEST(Stats, RatesAreOfTheTimeBetween) {
  StatsReply before, now;
  AddDisk(10 * kMib, 0, AddMachine("dev", 1000, &before));
  MachineStats* machine = AddMachine("dev", 3000, &now);
  machine->set_cpu_time_ms(64000);
  AddDisk(12 * kMib, 4096, machine);
  AddRates(before, &now);
  EXPECT_DOUBLE_EQ(now.machines(0).cpu_percent(), 150);
  EXPECT_DOUBLE_EQ(now.machines(0).disks(0).read_bytes_per_second(), kMib);
  EXPECT_DOUBLE_EQ(now.machines(0).disks(0).written_bytes_per_second(), 2048);
  EXPECT_THAT(RenderStats(now, kUtf8), HasSubstr("150% of 2"));
  EXPECT_THAT(RenderStats(now, kUtf8), HasSubstr("1.0 MiB/s, 2.0 KiB/s"));
}

// A machine that was started again, one that has just come, a device that was plugged in, and two
// looks at the same moment.
TEST(Stats, WhatHasNoRateGetsNone) {
  StatsReply before, now;
  AddDisk(10 * kMib, 0, AddMachine("again", 1000, &before));
  AddMachine("same", 1000, &before);
  AddMachine("plugged", 1000, &before);
  before.add_machines()->set_id("id-came");
  AddDisk(11 * kMib, 0, AddMachine("again", 3000, &now));
  now.mutable_machines(0)->set_cpu_time_ms(5);
  AddMachine("same", 1000, &now);
  AddDisk(1, 1, AddMachine("plugged", 3000, &now));
  AddMachine("came", 3000, &now);
  AddMachine("new", 3000, &now);
  AddRates(before, &now);
  for (const MachineStats& machine : now.machines()) {
    EXPECT_EQ(machine.has_cpu_percent(), machine.name() == "plugged") << machine.name();
    for (const control::DiskStats& disk : machine.disks())
      EXPECT_FALSE(disk.has_read_bytes_per_second()) << machine.name();
  }
}

}  // namespace
}  // namespace rum
