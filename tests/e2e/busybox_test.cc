// A guest without systemd, udev, bash, sudo and cloud-init: busybox is init and all of its tools.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "tests/e2e/world.h"

namespace rum::e2e {
namespace {

namespace fs = std::filesystem;

// It may serve already.
constexpr char kServe[] =
    "mkdir -p /srv/www\necho page > /srv/www/index.html\n"
    "httpd -p 127.0.0.1:7000 -h /srv/www || true";

// One VM for all cases: they run in the order of this file.
class Busybox : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    world_ = new World(std::getenv("RUM_TEST_URI"));
    FileSpec& file = world_->file;
    const char* image = std::getenv("RUM_TEST_BUSYBOX_IMAGE");
    ASSERT_NE(image, nullptr) << "run this through tools/test, which builds the image";
    file.image = image;
    port_ = FreePort();
    file.ports = {{port_, 7000}};
    file.system = "echo system >> /var/log/story";
    file.boot = "echo boot-1 >> /var/log/story\n" + std::string(kServe);
    fs::create_directory(world_->folder() + "/project/shared");
    std::ofstream(world_->folder() + "/project/shared/from-host") << "hello";
    file.more =
        "[ssh]\nauthorized_keys = [\"ssh-ed25519 "
        "AAAAC3NzaC1lZDI1NTE5AAAAIFirst00000000000000000000000000000000000000 first@host\"]\n"
        "[[mounts]]\nsource = \"shared\"\ntarget = \"/shared\"\ndefault = true\n";
    world_->Save();
    up_ = world_->Rum({"up", "-d"});
  }
  static void TearDownTestSuite() {
    delete world_;
    world_ = nullptr;
  }
  void SetUp() override { ASSERT_EQ(up_.exit_status, 0) << up_.out << up_.err; }

  static std::string Page() {
    return e2e::Run({"curl", "-fs", "--max-time", "20",
                     "http://127.0.0.1:" + std::to_string(port_) + "/"})
        .out;
  }
  // The machine is whole again, by itself.
  static bool Converges() {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(120);
    while (world_->Rum({"apply", "--exit-code"}).exit_status != 0) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
    }
    return true;
  }

  static inline World* world_ = nullptr;
  static inline Result up_;
  static inline uint16_t port_;
};

TEST_F(Busybox, ThereIsNothingElseInTheGuest) {
  EXPECT_EQ(world_->Guest("readlink /proc/1/exe"), "/bin/busybox");
  EXPECT_EQ(
      world_->Guest("ls /bin/bash /usr/bin/systemctl /usr/sbin/usermod /usr/bin/sudo 2>/dev/null "
                    "| wc -l"),
      "0");
}

TEST_F(Busybox, UpMakesEverythingOfTheFileTrue) {
  EXPECT_EQ(world_->Guest("hostname; cat /etc/hostname"), "dev\ndev");
  EXPECT_EQ(world_->Guest("grep -c '^\\(docker\\|builders\\):.*:rum$' /etc/group"), "2");
  EXPECT_EQ(world_->Guest("cat /var/log/story"), "system\nboot-1");
  EXPECT_EQ(world_->Guest("grep -c first@host /home/rum/.ssh/authorized_keys"), "1");
  EXPECT_EQ(world_->Guest("stat -c '%a %u' /home/rum/.ssh/authorized_keys"), "600 1000");
  EXPECT_EQ(world_->Guest("grep -c ^rum:.*:/bin/sh$ /etc/passwd"), "1") << "there is no bash";
  EXPECT_EQ(world_->Guest("pwd; cat from-host"), "/shared\nhello");
  EXPECT_EQ(Page(), "page\n");
}

TEST_F(Busybox, AnEditedFileIsAppliedLive) {
  FileSpec& file = world_->file;
  file.hostname = "devbox";
  file.groups = R"("docker", "video")";
  file.boot = "echo boot-2 >> /var/log/story\n" + std::string(kServe);
  const uint16_t added = FreePort();
  file.ports.push_back({added, 7000});
  world_->Save();
  const Result reload = world_->Rum({"reload"});
  EXPECT_EQ(reload.exit_status, 0) << reload.out << reload.err;
  EXPECT_EQ(world_->Guest("hostname; cat /etc/hostname"), "devbox\ndevbox");
  EXPECT_EQ(
      world_->Guest("grep '^\\(docker\\|builders\\|video\\):' /etc/group | sed 's/:.*:/ /' | sort"),
      "builders \ndocker rum\nvideo rum");
  EXPECT_EQ(world_->Guest("cat /var/log/story"), "system\nboot-1\nboot-2");
  EXPECT_EQ(e2e::Run({"curl", "-fs", "http://127.0.0.1:" + std::to_string(added) + "/"}).out,
            "page\n");
}

TEST_F(Busybox, ACommandKeepsItsInputAndItsStatus) {
  const Result result = world_->Rum({"exec", "--", "sh", "-c", "cat; exit 7"}, "input");
  EXPECT_EQ(result.exit_status, 7);
  EXPECT_EQ(result.out, "input");
}

TEST_F(Busybox, AnAgentThatWasKilledComesBack) {
  world_->Rum({"exec", "--", "sh", "-c", "kill -9 $(pidof rum-agent)"});
  EXPECT_TRUE(Converges());
  EXPECT_EQ(world_->Guest("cat /var/log/story"), "system\nboot-1\nboot-2") << "nothing ran again";
}

TEST_F(Busybox, AfterARebootInTheGuestTheBootScriptRunsOnceMore) {
  const std::string boot = world_->Guest("cat /proc/sys/kernel/random/boot_id");
  world_->Rum({"exec", "--", "sh", "-c", "reboot"});
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(120);
  std::string now = boot;
  while (now == boot && std::chrono::steady_clock::now() < deadline) {
    const Result asked = world_->Rum({"exec", "--", "cat", "/proc/sys/kernel/random/boot_id"});
    now = asked.exit_status == 0 ? asked.out.substr(0, asked.out.find('\n')) : boot;
  }
  EXPECT_NE(now, boot);
  EXPECT_TRUE(Converges());
  EXPECT_EQ(world_->Guest("hostname; cat /var/log/story; cat /shared/from-host"),
            "devbox\nsystem\nboot-1\nboot-2\nboot-2\nhello");
  EXPECT_EQ(Page(), "page\n");
}

TEST_F(Busybox, DownIsHeardAndUpBringsItBack) {
  EXPECT_EQ(world_->Rum({"down"}).exit_status, 0);
  EXPECT_EQ(world_->Rum({"up", "-d"}).exit_status, 0);
  EXPECT_EQ(world_->Guest("cat /var/log/power-button"), "pressed") << "no force was needed";
  EXPECT_EQ(world_->Guest("tail -n 1 /var/log/story"), "boot-2");
  EXPECT_EQ(world_->Rum({"destroy"}).exit_status, 0);
}

}  // namespace
}  // namespace rum::e2e
