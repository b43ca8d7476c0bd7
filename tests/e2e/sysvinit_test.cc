// Debian with sysvinit, ifupdown and acpid in place of systemd, set up by its own cloud-init.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>

#include "tests/e2e/world.h"

namespace rum::e2e {
namespace {

// One VM for all cases: they run in the order of this file.
class Sysvinit : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    world_ = new World(std::getenv("RUM_TEST_URI"));
    FileSpec& file = world_->file;
    const char* image = std::getenv("RUM_TEST_SYSVINIT_IMAGE");
    ASSERT_NE(image, nullptr) << "run this through tools/test, which builds the image";
    file.image = image;
    file.system = "echo system >> /var/log/story";
    file.boot = "echo boot >> /var/log/story";
    file.more =
        "[ssh]\nauthorized_keys = [\"ssh-ed25519 "
        "AAAAC3NzaC1lZDI1NTE5AAAAIFirst00000000000000000000000000000000000000 first@host\"]\n"
        "[drives.data]\nsize = \"64M\"\n[[fs.ext4]]\ndrive = \"data\"\ntarget = \"/srv/data\"\n";
    world_->Save();
    up_ = world_->Rum({"up", "-d"});
  }
  static void TearDownTestSuite() {
    delete world_;
    world_ = nullptr;
  }
  void SetUp() override { ASSERT_EQ(up_.exit_status, 0) << up_.out << up_.err; }

  static inline World* world_ = nullptr;
  static inline Result up_;
};

TEST_F(Sysvinit, UpMakesEverythingOfTheFileTrue) {
  EXPECT_EQ(world_->Guest("readlink /proc/1/exe"), "/usr/sbin/init") << "systemd's is elsewhere";
  EXPECT_EQ(world_->Guest("ls /run/systemd/system 2>/dev/null || echo none"), "none");
  EXPECT_EQ(world_->Guest("hostname; cat /etc/hostname"), "dev\ndev");
  EXPECT_EQ(world_->Guest("id -nG rum | tr ' ' '\\n' | grep -cx 'docker\\|builders'"), "2");
  EXPECT_EQ(world_->Guest("grep -c first@host ~rum/.ssh/authorized_keys"), "1");
  EXPECT_EQ(world_->Guest("grep -c '^rum:!' /etc/shadow"), "1");
  EXPECT_EQ(world_->Guest("findmnt -no FSTYPE /srv/data"), "ext4");
  EXPECT_EQ(world_->Guest("cat /var/log/story"), "system\nboot");
}

TEST_F(Sysvinit, AnEditedFileIsAppliedLiveAndAKilledAgentComesBack) {
  world_->file.hostname = "devbox";
  world_->file.groups = R"("docker", "video")";
  world_->Save();
  const Result reload = world_->Rum({"reload"});
  EXPECT_EQ(reload.exit_status, 0) << reload.out << reload.err;
  EXPECT_EQ(world_->Guest("hostname; grep -c '^127.0.1.1.*devbox' /etc/hosts"), "devbox\n1");
  EXPECT_EQ(world_->Guest("id -nG rum | tr ' ' '\\n' | grep -x 'docker\\|builders\\|video' | sort"),
            "docker\nvideo");
  world_->Rum({"exec", "--", "sh", "-c", "kill -9 $(pidof rum-agent)"});
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(120);
  while (world_->Rum({"apply", "--exit-code"}).exit_status != 0) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  }
  EXPECT_EQ(world_->Guest("cat /var/log/story"), "system\nboot") << "nothing ran again";
}

TEST_F(Sysvinit, RestartIsHeardAndBringsEverythingBack) {
  const Result restart = world_->Rum({"restart"});
  ASSERT_EQ(restart.exit_status, 0) << restart.out << restart.err;
  EXPECT_EQ(world_->Guest("cat /var/log/story"), "system\nboot\nboot");
  EXPECT_EQ(world_->Guest("hostname; findmnt -no FSTYPE /srv/data"), "devbox\next4");
  EXPECT_EQ(world_->Guest("last -x shutdown runlevel | grep -c 'shutdown system'"), "1")
      << "it was shut down, not cut off";
  EXPECT_EQ(world_->Rum({"apply", "--exit-code"}).exit_status, 0);
}

}  // namespace
}  // namespace rum::e2e
