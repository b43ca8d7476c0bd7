// Disks of a running machine, seen from inside: plugged in, grown and taken out, while a connection
// and a running program live through all of it.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/e2e/live_world.h"

namespace rum::e2e {
namespace {

namespace fs = std::filesystem;

std::string Drive(const std::string& name, const std::string& size, const std::string& type = "") {
  const std::string table = "[drives." + name + "]\nsize = \"" + size + "\"\n";
  if (type.empty()) return table;
  const std::string on =
      type == "btrfs" ? "drives = [\"" + name + "\"]" : "drive = \"" + name + "\"";
  return table + "[[fs." + type + "]]\n" + on + "\ntarget = \"/" + name + "\"\n";
}

class LiveDisks : public LiveTest {
 protected:
  static void SetUpTestSuite() { Begin(); }
  // In MiB.
  static int SizeOf(const std::string& target) {
    return std::atoi(world_->Guest("df -BM --output=size " + target + " | tail -1").c_str());
  }
  static std::string Serials() {
    return world_->Guest(
        "for f in /sys/block/vd*/serial; do cat $f; echo; done | LC_ALL=C sort | tr '\\n' ' '");
  }
  static int Volumes(const std::string& part) {
    int count = 0;
    for (const auto& entry : fs::recursive_directory_iterator(world_->folder() + "/data")) {
      if (Contains(entry.path().filename().string(), part)) ++count;
    }
    return count;
  }
};

TEST_F(LiveDisks, ADryRunSaysWhichWayItGoesBeforeItGoes) {
  BringLive(Drive("data", "256M", "ext4"));
  const std::string more = Drive("data", "512M", "ext4") + Drive("late", "512M", "xfs");
  const std::string said = ReloadWith(more, {"--dry-run"});
  EXPECT_TRUE(Contains(said, "plug drive late in (512M)")) << said;
  EXPECT_TRUE(Contains(said, "grow drive data 256M → 512M")) << said;
  EXPECT_FALSE(Contains(said, "restart")) << said;
  EXPECT_TRUE(Contains(ReloadWith(more, {"--dry-run", "--no-live"}), "restart"));
}

TEST_F(LiveDisks, DrivesAreAddedWithTheirFilesystems) {
  BringLive(Drive("data", "256M", "ext4") + Drive("late", "512M", "xfs") +
            Drive("trees", "300M", "btrfs"));
  EXPECT_EQ(world_->Guest("findmnt -no FSTYPE /late; findmnt -no FSTYPE /trees"), "xfs\nbtrfs");
  EXPECT_EQ(Serials(), "rum-data rum-late rum-trees rum.root ");
  world_->Guest("for f in /data /late /trees; do echo kept > $f/file; done; sync");
}

TEST_F(LiveDisks, AllGrowWithTheirFilesystems) {
  const int root = SizeOf("/");
  world_->file.disk = "6G";
  BringLive(Drive("data", "512M", "ext4") + Drive("late", "1G", "xfs") +
            Drive("trees", "600M", "btrfs"));
  EXPECT_GT(SizeOf("/"), root);
  EXPECT_GT(SizeOf("/"), 5300) << "with its partition";
  EXPECT_GT(SizeOf("/data"), 440);
  EXPECT_GT(SizeOf("/late"), 900);
  EXPECT_GT(SizeOf("/trees"), 590);
  EXPECT_EQ(world_->Guest("cat /data/file /late/file /trees/file"), "kept\nkept\nkept");
}

TEST_F(LiveDisks, ADriveInUseStaysAndSaysByWhomAndGoesOnceItIsFree) {
  const std::string without = Drive("data", "512M", "ext4") + Drive("trees", "600M", "btrfs");
  const std::string pid = Sit("/late");
  const std::string said = ReloadWith(without);
  EXPECT_TRUE(Contains(said, "in use")) << said;
  EXPECT_TRUE(Contains(said, "pid " + pid + " (sleep)")) << said;
  EXPECT_EQ(ItemOf("drives.late").state(), Item::NEEDS_RESTART);
  EXPECT_EQ(world_->Guest("cat /late/file"), "kept");
  EXPECT_EQ(Serials(), "rum-data rum-late rum-trees rum.root ");
  world_->Guest("kill " + pid);
  BringLive(without);
  EXPECT_EQ(Serials(), "rum-data rum-trees rum.root ");
  EXPECT_EQ(world_->Guest("findmnt /late || grep -c late /etc/fstab || true"), "0");
  EXPECT_EQ(Volumes(".drive.rum-late"), 1) << "kept until destroy";
}

TEST_F(LiveDisks, ADriveThatComesBackHasWhatWasOnIt) {
  BringLive(Drive("data", "512M", "ext4") + Drive("trees", "600M", "btrfs") +
            Drive("late", "1G", "xfs"));
  EXPECT_EQ(world_->Guest("cat /late/file"), "kept");
}

TEST_F(LiveDisks, WhatSomebodyElsePluggedInStaysAndWhatHeTookOutIsPutBack) {
  const std::string domain = world_->DomainName();
  const std::string theirs = world_->folder() + "/theirs.raw";
  EXPECT_EQ(e2e::Run({"truncate", "-s", "16M", theirs}).exit_status, 0);
  const Result plugged =
      world_->Virsh({"attach-disk", domain, theirs, "vdz", "--serial", "theirs", "--live"});
  ASSERT_EQ(plugged.exit_status, 0) << plugged.err;
  world_->Guest("umount /trees");
  const std::string target =
      world_->Guest("basename $(readlink -f /dev/disk/by-id/virtio-rum-trees)");
  ASSERT_EQ(world_->Virsh({"detach-disk", domain, target, "--live"}).exit_status, 0);
  EXPECT_TRUE(Contains(Reload(), "Plugged drive trees in"));
  ExpectSilence();
  EXPECT_EQ(world_->Guest("cat /trees/file"), "kept");
  EXPECT_TRUE(Contains(Serials(), "theirs"));
  world_->Virsh({"detach-disk", domain, "vdz", "--live"});
}

TEST_F(LiveDisks, AControllerKilledBetweenTwoStepsIsNoReasonForHalfAChange) {
  const std::string others = Drive("data", "512M", "ext4") + Drive("late", "1G", "xfs");
  int size = 600;
  const auto trees = [&] { return Drive("trees", std::to_string(size) + "M", "btrfs"); };
  for (const char* failpoint : {"disk:grown", "disk:released", "disk:plugged", "disk:defined"}) {
    const bool plugs = Contains(failpoint, "plugged");
    if (!Contains(failpoint, "released")) size += plugs ? 0 : 100;
    world_->file.more = Contains(failpoint, "released") ? others : others + trees();
    ReloadTwice(failpoint);
    EXPECT_EQ(Contains(Serials(), "rum-trees"), Contains(world_->file.more, "trees")) << failpoint;
  }
  EXPECT_GT(SizeOf("/trees"), size - 20);
  EXPECT_EQ(world_->Guest("cat /trees/file"), "kept");
  Connect();
}

// The boot checks a filesystem before it mounts it, and the agent comes meanwhile.
constexpr char kSlowMount[] =
    "mkdir -p /etc/systemd/system/late.mount.d\n"
    "printf '[Unit]\\nRequires=slow.service\\nAfter=slow.service\\n' "
    ">/etc/systemd/system/late.mount.d/slow.conf\n"
    "cat >/etc/systemd/system/slow.service <<'UNIT'\n"
    "[Unit]\n"
    "DefaultDependencies=no\n"
    "[Service]\n"
    "Type=oneshot\n"
    "ExecStart=/usr/bin/python3 -c \"import os; "
    "os.open('/dev/disk/by-id/virtio-rum-late', os.O_RDWR | os.O_EXCL); "
    "os.system('until systemctl is-active -q rum-agent; do sleep 0.1; done; sleep 8'); "
    "open('/run/was-slow', 'w')\"\n"
    "UNIT\n"
    "sync";

TEST_F(LiveDisks, ARestartBringsTheSameMachineThoughItsBootIsSlowToMountADrive) {
  world_->Guest(kSlowMount);
  const std::string mounts = "findmnt -rno TARGET,FSTYPE -t ext4,xfs,btrfs | sort";
  const std::string before = world_->Guest(mounts);
  ASSERT_EQ(world_->Rum({"restart"}).exit_status, 0);
  ExpectSilence();
  EXPECT_EQ(world_->Guest(mounts), before);
  EXPECT_EQ(world_->Guest("ls /run/was-slow; rm -r /etc/systemd/system/late.mount.d"),
            "/run/was-slow");
  EXPECT_GT(SizeOf("/"), 5300);
  EXPECT_EQ(world_->Rum({"reload", "--exit-code"}).exit_status, 0);
  Settle();
}

}  // namespace
}  // namespace rum::e2e
