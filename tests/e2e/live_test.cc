// What changes on a running machine as far as it has room, seen from inside: a connection, a
// running program and the boot live through all of it.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/e2e/live_world.h"
#include "tests/eventually.h"

namespace rum::e2e {
namespace {

bool Eventually(const std::function<bool()>& holds) {
  return rum::Eventually(holds, std::chrono::seconds(60));
}

class Live : public LiveTest {
 protected:
  static void SetUpTestSuite() { Begin(); }
  static std::string Cpus() { return world_->Guest("nproc"); }
  static int MemoryMb(const std::string& line) {
    return std::atoi(
        world_->Guest("awk '/^" + line + ":/ {print int($2 / 1024)}' /proc/meminfo").c_str());
  }
};

TEST_F(Live, ADryRunSaysWhichWayItGoesBeforeItGoes) {
  FileSpec& file = world_->file;
  file.cpus = 2;
  file.memory_mb = 768;
  const std::string room = Reload({"--dry-run"});
  EXPECT_TRUE(Contains(room, "set vCPUs 3 → 2 while it runs")) << room;
  EXPECT_TRUE(Contains(room, "set memory 512 → 768 MiB while it runs")) << room;
  EXPECT_FALSE(Contains(room, "restart")) << room;
  const std::string old_way = Reload({"--dry-run", "--no-live"});
  EXPECT_TRUE(Contains(old_way, "the number of vCPUs is part of the domain definition")) << old_way;
  file.cpus = 4;
  EXPECT_TRUE(Contains(Reload({"--dry-run"}), "plugged into an emulated machine"));
  file.resources = "max_cpus = 5\nmax_memory_mb = 2048\n";
  file.cpus = 5;
  file.memory_mb = 2048;
  const std::string beyond = Reload({"--dry-run"});
  EXPECT_TRUE(Contains(beyond, "room for 4 vCPUs (resources.max_cpus)")) << beyond;
  EXPECT_TRUE(Contains(beyond, "started with room for 1024 MiB (resources.max_memory_mb)"))
      << beyond;
  file.resources = "max_cpus = 4\nmax_memory_mb = 1024\n";
  file.cpus = 3;
  file.memory_mb = 512;
  EXPECT_TRUE(Contains(Reload(), "nothing to do"));
  ExpectSilence();
}

TEST_F(Live, CpusComeAndGo) {
  for (const uint32_t cpus : {1, 3, 2}) {
    world_->file.cpus = cpus;
    BringLive();
    EXPECT_EQ(Cpus(), std::to_string(cpus));
  }
}

TEST_F(Live, MemoryComesAndGoes) {
  const int before = MemoryMb("MemTotal");
  world_->file.memory_mb = 1024;
  BringLive();
  EXPECT_GE(MemoryMb("MemTotal"), before + 500);
  world_->file.memory_mb = 640;
  BringLive();
  EXPECT_LE(MemoryMb("MemTotal"), before + 130);
  world_->file.memory_mb = 352;
  BringLive();
  EXPECT_LE(MemoryMb("MemAvailable"), 352);
  ExpectUndisturbed();
  world_->file.memory_mb = 512;
  BringLive();
  EXPECT_GE(MemoryMb("MemTotal"), before - 16);
  ExpectUndisturbed();
}

TEST_F(Live, MemoryThatTheGuestUsesIsNotTakenFromIt) {
  world_->Guest(
      "setsid python3 -c '\n"
      "import os, time\n"
      "held = b\"x\" * (250 << 20)\n"
      "open(\"/run/holder\", \"w\").write(str(os.getpid()))\n"
      "time.sleep(3600)\n"
      "' >/dev/null 2>&1 </dev/null &\n"
      "while [ ! -s /run/holder ]; do sleep 0.1; done");
  world_->file.memory_mb = 256;
  const std::string said = Reload();
  EXPECT_TRUE(Contains(said, "the guest uses")) << said;
  EXPECT_EQ(ItemOf("resources.memory_mb").state(), Item::NEEDS_RESTART);
  EXPECT_TRUE(Contains(ItemOf("resources.memory_mb").reason(), "are left to it"));
  EXPECT_EQ(world_->Guest("kill -0 $(cat /run/holder) && echo lives; dmesg | grep -ci oom || true"),
            "lives\n0");
  ExpectUndisturbed();
  world_->Guest("kill $(cat /run/holder)");
  world_->file.memory_mb = 512;
  Reload();
  ExpectSilence();
}

TEST_F(Live, WhatSomebodyElseMovedIsNamedAndPutRight) {
  const std::string domain = world_->DomainName();
  world_->Guest("echo 0 > /sys/devices/system/cpu/cpu1/online");
  EXPECT_TRUE(Eventually([] { return ItemOf("resources.cpus").state() == Item::DRIFTED; }));
  EXPECT_EQ(ItemOf("resources.cpus").moved_by(), Item::GUEST);
  EXPECT_EQ(world_->Virsh({"setvcpus", domain, "1", "--config"}).exit_status, 0);
  EXPECT_EQ(world_->Virsh({"setmem", domain, "400M", "--live"}).exit_status, 0);
  EXPECT_TRUE(Eventually([] { return ItemOf("resources.memory_mb").state() == Item::DRIFTED; }));
  EXPECT_EQ(ItemOf("resources.memory_mb").moved_by(), Item::LIBVIRT);
  Reload();
  ExpectSilence();
  EXPECT_EQ(Cpus(), "2");
  ExpectUndisturbed();
}

TEST_F(Live, AControllerKilledBetweenTwoStepsIsNoReasonForHalfAChange) {
  for (const char* failpoint :
       {"cpus:defined", "cpus:plugged", "memory:defined", "memory:resized"}) {
    world_->file.cpus = world_->file.cpus == 3 ? 2 : 3;
    world_->file.memory_mb = world_->file.memory_mb == 512 ? 768 : 512;
    ReloadTwice(failpoint);
    EXPECT_EQ(Cpus(), std::to_string(world_->file.cpus)) << failpoint;
    EXPECT_EQ(MemoryMb("MemTotal") > 600, world_->file.memory_mb > 512) << failpoint;
  }
  Connect();
  ExpectUndisturbed();
}

TEST_F(Live, ARebootOfTheGuestKeepsTheMemoryAndBringsBackCpusThatAreTakenOfflineAgain) {
  world_->file.cpus = 1;
  world_->file.memory_mb = 1024;
  BringLive();
  const int memory = MemoryMb("MemTotal");
  world_->Rum({"exec", "--", "reboot"});
  const auto rebooted = [] {
    const Result boot = world_->Rum({"exec", "--", "cat", "/proc/sys/kernel/random/boot_id"});
    return boot.exit_status == 0 && !Contains(boot.out, boot_id_);
  };
  ASSERT_TRUE(rum::Eventually(rebooted, std::chrono::minutes(10)));
  Reload();
  ExpectSilence();
  EXPECT_EQ(Cpus(), "1");
  EXPECT_EQ(world_->Guest("cat /sys/devices/system/cpu/present"), "0-2");
  EXPECT_NEAR(MemoryMb("MemTotal"), memory, 16);
  // The next start is as a fresh one.
  const std::string next = world_->Virsh({"dumpxml", "--inactive", world_->DomainName()}).out;
  EXPECT_TRUE(Contains(next, "current='1'>4</vcpu>")) << next;
  EXPECT_TRUE(Contains(next, "<memory unit='KiB'>1048576</memory>")) << next;
  EXPECT_FALSE(Contains(next, "virtio-mem")) << "all of it from the start";
}

}  // namespace
}  // namespace rum::e2e
