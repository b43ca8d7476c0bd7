// Scripts on a real VM, over reboots that no controller sees.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "tests/e2e/processes.h"
#include "tests/e2e/world.h"

namespace rum::e2e {
namespace {

namespace fs = std::filesystem;

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// One VM for all cases, in the order of this file.
class Provisioning : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    world_ = new World(std::getenv("RUM_TEST_URI"), FirstBoot::kShort);
    world_->file.system = "echo system >> /var/log/system";
    world_->file.boot = "echo booted $RUM_BOOT_ID | tee -a /host/boots\ncat /proc/self/cgroup >&2";
    fs::create_directory(Boots().substr(0, Boots().rfind('/')));
    world_->file.more = "[[mounts]]\nsource = \"shared\"\ntarget = \"/host\"\n";
    world_->Save();
    up_ = world_->Rum({"up", "-d"});
  }
  static void TearDownTestSuite() {
    delete world_;
    world_ = nullptr;
  }
  void SetUp() override { ASSERT_EQ(up_.exit_status, 0) << up_.out << up_.err; }

  // What the boot scripts wrote, in a folder of the host.
  static std::string Boots() { return world_->folder() + "/project/shared/boots"; }
  static size_t BootsSeen() {
    std::ifstream file(Boots());
    size_t lines = 0;
    for (std::string line; std::getline(file, line);) ++lines;
    return lines;
  }
  static std::string BootId() { return world_->Guest("cat /proc/sys/kernel/random/boot_id"); }

  static inline World* world_ = nullptr;
  static inline Result up_;
};

TEST_F(Provisioning, TheLogHasWhatTheScriptsWroteAndWhen) {
  const Result log = world_->Rum({"log"});
  EXPECT_EQ(log.exit_status, 0) << log.err;
  EXPECT_TRUE(Contains(log.out, " booted " + BootId() + "\n")) << log.out;
  EXPECT_TRUE(Contains(log.err, "/rum-run-boot-")) << "a cgroup of its own: " << log.err;
  EXPECT_EQ(log.out.find(' '), std::string("12:30:01.123").size()) << log.out;
  const Result list = world_->Rum({"log", "--list"});
  EXPECT_TRUE(Contains(list.out, " system ") && Contains(list.out, " boot ")) << list.out;
}

TEST_F(Provisioning, WithoutAControllerTheAgentRunsTheBootScriptOfARebootAndTheLogIsFetchedLater) {
  const std::string before = BootId();
  world_->StopController();
  ASSERT_EQ(world_->Virsh({"reset", world_->DomainName()}).exit_status, 0);
  // Nobody asks the agent: the shared folder shows what it does.
  for (int i = 0; i < 3000 && BootsSeen() < 2; ++i) usleep(100 * 1000);
  ASSERT_EQ(BootsSeen(), 2u);
  const std::string now = BootId();
  EXPECT_NE(now, before);
  const Result list = world_->Rum({"log", "--list"});
  EXPECT_TRUE(Contains(list.out, "-agent  done")) << "who ran it: " << list.out;
  EXPECT_TRUE(Contains(world_->Rum({"log"}).out, "booted " + now)) << "fetched later";
  EXPECT_EQ(world_->Rum({"up", "-d"}).exit_status, 0);
  EXPECT_EQ(BootsSeen(), 2u) << "once in a boot";
  EXPECT_EQ(world_->Guest("cat /var/log/system"), "system") << "once for the disk";
}

TEST_F(Provisioning, ProvisionRunsThemAgain) {
  const Result provision = world_->Rum({"provision", "--system"});
  EXPECT_EQ(provision.exit_status, 0) << provision.err;
  EXPECT_EQ(world_->Guest("cat /var/log/system"), "system\nsystem");
}

TEST_F(Provisioning, AScriptThatFailsShowsAllOfItsOutputAndKeepsTheMachine) {
  world_->file.boot = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; exit 9";
  world_->Save();
  const Result up = world_->Rum({"up", "-d"});
  EXPECT_EQ(up.exit_status, 1);
  EXPECT_TRUE(Contains(up.out, "boot provisioning script failed with exit status 9")) << up.out;
  EXPECT_TRUE(Contains(up.out, "line 0\n") && Contains(up.out, "line 1999\n")) << up.out;
  EXPECT_EQ(world_->Status().phase(), MachineStatus::RUNNING);
  EXPECT_TRUE(Contains(world_->Rum({"log", "--failed"}).out, " line 1999\n"));
}

TEST_F(Provisioning, ABootScriptThatRebootsIsNoFailureOfUp) {
  const std::string before = BootId();
  world_->file.boot =
      "[ -e /var/lib/rebooted ] && exit 0\ntouch /var/lib/rebooted\nsync\n"
      "systemctl reboot || reboot -f\nsleep 1000";
  world_->Save();
  const Result up = world_->Rum({"up", "-d"});
  EXPECT_EQ(up.exit_status, 0) << up.out << up.err;
  EXPECT_FALSE(Contains(up.out + up.err, "Socket closed")) << up.out << up.err;
  EXPECT_TRUE(Contains(up.err, "the guest rebooted in the middle of the boot")) << up.err;
  EXPECT_NE(BootId(), before);
  EXPECT_TRUE(Contains(world_->Rum({"log", "--list"}).out, "interrupted"));
}

TEST_F(Provisioning, FiftyMegabytesOfOutputNeedNeitherAgentNorControllerMuchMemory) {
  world_->file.boot = "yes $(printf %0999d 0) | head -c 50000000";
  world_->Save();
  const Result up = world_->Rum({"up", "-d"});
  EXPECT_EQ(up.exit_status, 0) << up.err;
  const long agent =
      std::atol(world_->Guest("sed -n 's/VmHWM: *//p' /proc/$(pidof rum-agent)/status").c_str());
  const long controller = PeakKbOf("rum-controller");
  std::fprintf(stderr, "at most resident: agent %ld kB, controller %ld kB\n", agent, controller);
  EXPECT_GT(agent, 0);
  EXPECT_LT(agent, 64 * 1024);
  EXPECT_GT(controller, 0);
  EXPECT_LT(controller, 150 * 1024);
  const Result log = world_->Rum({"log"});
  EXPECT_EQ(log.exit_status, 0) << log.err;
  EXPECT_GT(log.out.size(), 15u << 20);  // the newest of it
}

TEST_F(Provisioning, CancelEndsAScriptThatRunsAndUpSaysSo) {
  world_->file.boot = "echo begun\nsetsid sleep 1000";
  world_->Save();
  Result up;
  std::thread other([&] { up = world_->Rum({"up", "-d"}); });
  std::string list;
  for (int i = 0; i < 600 && !Contains(list, "running"); ++i) {
    list = world_->Rum({"log", "--list"}).out;
  }
  const Result cancel = world_->Rum({"provision", "--cancel"});
  EXPECT_TRUE(Contains(cancel.out, "Told the boot provisioning script to end")) << list;
  other.join();
  EXPECT_EQ(up.exit_status, 1);
  EXPECT_TRUE(Contains(up.out, "boot provisioning script was cancelled")) << up.out << up.err;
  EXPECT_EQ(world_->Guest("pidof sleep || echo none"), "none") << "also what left its group";
  EXPECT_TRUE(Contains(world_->Rum({"log", "--list", "--failed"}).out, "cancelled"));
}

}  // namespace
}  // namespace rum::e2e
