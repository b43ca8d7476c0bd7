// Disks of a running machine, seen from inside: plugged in, grown and taken out, while a connection
// and a running program live through all of it.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/e2e/world.h"

namespace rum::e2e {
namespace {

namespace fs = std::filesystem;

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

std::string Drive(const std::string& name, const std::string& size, const std::string& type = "") {
  const std::string table = "[drives." + name + "]\nsize = \"" + size + "\"\n";
  if (type.empty()) return table;
  const std::string on =
      type == "btrfs" ? "drives = [\"" + name + "\"]" : "drive = \"" + name + "\"";
  return table + "[[fs." + type + "]]\n" + on + "\ntarget = \"/" + name + "\"\n";
}

// One VM for all cases: they run in the order of this file and each leaves the machine in sync.
class LiveDisks : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    world_ = new World(std::getenv("RUM_TEST_URI"), FirstBoot::kShort);
    world_->file.ports = {{FreePort(), 7000}};
    world_->file.more = Drive("data", "256M", "ext4");
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

  static std::string Reload(const std::string& more, const std::vector<std::string>& options = {}) {
    world_->file.more = more;
    world_->Save();
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
  static void BringLive(const std::string& more) {
    const std::string said = Reload(more);
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

  static constexpr char kBootId[] = "cat /proc/sys/kernel/random/boot_id";
  static inline World* world_ = nullptr;
  static inline Result up_;
  static inline std::string boot_id_;
  static inline std::unique_ptr<EchoingConnection> connection_;
};

TEST_F(LiveDisks, ADryRunSaysWhichWayItGoesBeforeItGoes) {
  const std::string more = Drive("data", "512M", "ext4") + Drive("late", "512M", "xfs");
  const std::string said = Reload(more, {"--dry-run"});
  EXPECT_TRUE(Contains(said, "plug drive late in (512M)")) << said;
  EXPECT_TRUE(Contains(said, "grow drive data 256M → 512M")) << said;
  EXPECT_FALSE(Contains(said, "restart")) << said;
  EXPECT_TRUE(Contains(Reload(more, {"--dry-run", "--no-live"}), "restart"));
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
  const std::string pid =
      world_->Guest("cd /late && setsid sleep 3600 >/dev/null 2>&1 </dev/null & echo $!");
  const std::string said = Reload(without);
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
  EXPECT_TRUE(Contains(Reload(world_->file.more), "Plugged drive trees in"));
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
    world_->StopController();
    world_->Save();
    EXPECT_NE(world_->Rum({"reload"}, "", {{"RUM_FAILPOINT", failpoint}}).exit_status, 0)
        << failpoint;
    Reload(world_->file.more);
    ExpectSilence();
    EXPECT_EQ(Contains(Serials(), "rum-trees"), Contains(world_->file.more, "trees")) << failpoint;
  }
  EXPECT_GT(SizeOf("/trees"), size - 20);
  EXPECT_EQ(world_->Guest("cat /trees/file"), "kept");
  connection_ = std::make_unique<EchoingConnection>(world_->file.ports[0].host);
}

TEST_F(LiveDisks, ARestartBringsTheSameMachine) {
  const std::string mounts = "findmnt -rno TARGET,FSTYPE -t ext4,xfs,btrfs | sort";
  const std::string before = world_->Guest(mounts);
  ASSERT_EQ(world_->Rum({"restart"}).exit_status, 0);
  ExpectSilence();
  EXPECT_EQ(world_->Guest(mounts), before);
  EXPECT_GT(SizeOf("/"), 5300);
  EXPECT_EQ(world_->Rum({"reload", "--exit-code"}).exit_status, 0);
}

}  // namespace
}  // namespace rum::e2e
