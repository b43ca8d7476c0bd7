// Whoever uses the guest may have made anything of its files. The real agent: what is not poisoned
// is observed and corrected; what is says why, and is corrected when it is cured.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "agent-api/client/guest_agent.h"
#include "tests/agent-api/client/agent_process.h"
#include "tests/agent-api/guest/folder.h"
#include "tests/agent-api/guest/private_etc.h"
#include "tests/controller/guests/by_process.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::HasSubstr;

bool SetFlag(const std::string& path, int flag, bool on) {
  const int fd = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  int flags = 0;
  bool done = fd >= 0 && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0;
  flags = on ? flags | flag : flags & ~flag;
  done = done && ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
  if (fd >= 0) close(fd);
  return done;
}

// One way to spoil a file; what it gives undoes it, but for the file's content.
using Poison = std::function<std::function<void()>(const std::string& path)>;

std::function<void()> Removed(const std::string& path) {
  return [path] { fs::remove_all(path); };
}

const std::vector<Poison>& Poisons() {
  static const auto* const poisons =
      new std::vector<Poison>{[](const std::string& path) {
                                fs::remove(path);
                                fs::create_symlink("nowhere/at/all", path);
                                return Removed(path);
                              },
                              [](const std::string& path) {
                                fs::remove(path);
                                fs::create_symlink(fs::path(path).filename(), path);  // itself
                                return Removed(path);
                              },
                              [](const std::string& path) {
                                fs::remove(path);
                                fs::create_directories(path + "/in/it");
                                return Removed(path);
                              },
                              [](const std::string& path) {
                                fs::remove(path);
                                mkfifo(path.c_str(), 0644);
                                return Removed(path);
                              },
                              [](const std::string& path) {
                                fs::remove(path);
                                fs::create_symlink("/dev/zero", path);
                                return Removed(path);
                              },
                              [](const std::string& path) {
                                const std::string old = Slurp(path);
                                fs::resize_file(path, uintmax_t{1} << 40);
                                return [path, old] { Spill(path, old); };
                              },
                              [](const std::string& path) {
                                SetFlag(path, FS_IMMUTABLE_FL, true);
                                return [path] { SetFlag(path, FS_IMMUTABLE_FL, false); };
                              },
                              [](const std::string& path) {
                                mount(path.c_str(), path.c_str(), nullptr, MS_BIND, nullptr);
                                return [path] { umount2(path.c_str(), MNT_DETACH); };
                              },
                              [](const std::string& path) {
                                // Bytes of no encoding, with and without ends of lines, before what
                                // is there.
                                const std::string old = Slurp(path);
                                Spill(path, std::string("\0\xff\xfe:\x80:\n\n:::\nx\r\n", 15) +
                                                std::string(70000, '\xc3') + "\n" + old);
                                return std::function<void()>([] {});
                              }};
  return *poisons;
}

class PoisonedGuest : public testing::Test {
 protected:
  static void SetUpTestSuite() { EnterPrivateEtc(); }
  void SetUp() override {
    FillEtc();
    process_ = std::make_unique<AgentProcess>(folder_ / "state");
    agent_ = ConnectByProcess(process_->opener(), nullptr);
    ASSERT_TRUE(agent_->WaitConnected(absl::Seconds(60)).ok());
  }

  absl::StatusOr<agent::Observation> Observe() {
    agent::ObserveRequest request;
    request.set_user("dev");
    return agent_->Observe(request);
  }
  absl::Status SetGroups() {
    agent::SetGroupsRequest request;
    request.set_user("dev");
    request.add_add("video");
    return agent_->SetGroups(request);
  }
  absl::Status SetKeys() {
    agent::SetAuthorizedKeysRequest request;
    request.set_user("dev");
    request.add_add("ssh-rsa KEY me");
    return agent_->SetAuthorizedKeys(request);
  }

  const Folder folder_;
  std::unique_ptr<AgentProcess> process_;
  std::unique_ptr<GuestAgent> agent_;
};

TEST_F(PoisonedGuest, ANameThatIsNotUtf8IsAnItemAmongOthers) {
  Spill("/etc/group", "root:x:0:\ngr\xfcn:x:7:dev\nvideo:x:44:\n");
  Spill("/etc/hostname", "b\xfcro\n");
  ASSERT_EQ(sethostname("b\xfcro", 4), 0);
  ASSERT_TRUE(SetKeys().ok());
  Spill("/home/dev/.ssh/authorized_keys", "ssh-rsa K\xfc\nssh-rsa KEY me\n");
  const auto seen = Observe();
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_EQ(seen->hostname(), "b\xfcro");
  EXPECT_EQ(seen->static_hostname(), "b\xfcro");
  EXPECT_THAT(seen->groups(), Contains("gr\xfcn"));
  EXPECT_THAT(seen->authorized_keys(), Contains("ssh-rsa KEY"));
  EXPECT_THAT(seen->authorized_keys(), Contains("ssh-rsa K\xfc"));
  EXPECT_TRUE(SetGroups().ok());
  EXPECT_TRUE(agent_->SetHostname("devbox").ok());
}

TEST_F(PoisonedGuest, EveryOtherItemIsObservedAndCorrected) {
  const std::vector<std::string> files = {"/etc/hosts",   "/etc/hostname", "/etc/group",
                                          "/etc/gshadow", "/etc/fstab",    "/home/dev/.ssh"};
  std::mt19937 random(20261129);
  for (int round = 0; round < 60; ++round) {
    FillEtc();
    Spill("/etc/fstab", "");
    fs::create_directory("/home/dev/.ssh");
    (void)!chown("/home/dev/.ssh", 1000, 1000);
    const std::string& file = files[random() % files.size()];
    const size_t which = random() % Poisons().size();
    SCOPED_TRACE("round " + std::to_string(round) + ": poison " + std::to_string(which) + " on " +
                 file);
    const bool of_content = which == Poisons().size() - 1 || which == 5;
    if (fs::is_directory(file) && of_content) continue;
    const auto cure = Poisons()[which](file);
    const auto seen = Observe();
    ASSERT_TRUE(seen.ok()) << seen.status();
    EXPECT_TRUE(seen->user_exists());
    const absl::Status hostname = agent_->SetHostname("devbox");
    const absl::Status groups = SetGroups();
    const absl::Status keys = SetKeys();
    for (const absl::Status& status : {hostname, groups, keys}) {
      if (status.ok()) continue;
      EXPECT_TRUE(absl::IsAborted(status)) << status << ": it is worth another try";
      EXPECT_THAT(std::string(status.message()), HasSubstr(file));
    }
    EXPECT_EQ(KernelHostname(), "devbox");
    if (file.find("host") == std::string::npos) EXPECT_TRUE(hostname.ok()) << hostname;
    if (file != "/etc/group" && file != "/etc/gshadow") EXPECT_TRUE(groups.ok()) << groups;
    if (file != "/home/dev/.ssh") EXPECT_TRUE(keys.ok()) << keys;
    cure();
    if (file == "/etc/group" && !fs::exists(file)) continue;  // nothing to put a group into
    EXPECT_TRUE(agent_->SetHostname("devbox").ok());
    EXPECT_TRUE(SetGroups().ok());
    EXPECT_TRUE(SetKeys().ok());
    const auto after = Observe();
    ASSERT_TRUE(after.ok()) << after.status();
    EXPECT_EQ(after->static_hostname(), "devbox");
    EXPECT_FALSE(after->hosts_lack_name());
    EXPECT_THAT(after->groups(), Contains("video"));
    EXPECT_THAT(after->authorized_keys(), Contains("ssh-rsa KEY"));
  }
}

// gRPC refuses messages of more than 4 MiB.
TEST_F(PoisonedGuest, WhatIsLargerThanAMessageHidesNothingElse) {
  std::string rows = "video:x:44:dev\n", keys;
  for (int i = 0; i < 40'000; ++i) {
    const std::string name = std::string(70, 'g') + std::to_string(i);
    rows += name + ":x:" + std::to_string(i + 2000) + ":dev\n";
    keys += "ssh-rsa " + std::string(100, 'A') + std::to_string(i) + "\n";
  }
  ASSERT_TRUE(SetKeys().ok());
  Spill("/etc/group", std::string(rows.begin(), rows.begin() + (3 << 20)) + "\nlast:x:7:dev\n");
  Spill("/etc/hostname", std::string(60'000, 'h'));
  Spill("/home/dev/.ssh/authorized_keys", keys);
  agent::ObserveRequest request;
  request.set_user("dev");
  request.add_groups("last");
  const auto seen = agent_->Observe(request);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_THAT(seen->groups(), Contains("last")) << "somebody asks for it";
  EXPECT_GT(seen->groups_size(), 1000);
  EXPECT_LT(seen->ByteSizeLong(), 2u << 20);
  EXPECT_THAT(std::string(SetKeys().message()),
              HasSubstr("authorized_keys in the guest is larger than 1024 KiB"));
  EXPECT_TRUE(agent_->SetHostname("devbox").ok());
  EXPECT_TRUE(SetGroups().ok());
}

TEST_F(PoisonedGuest, WithoutATableOfUsersTheReasonIsTheTable) {
  fs::rename("/etc/passwd", "/etc/passwd.away");
  mkfifo("/etc/passwd", 0644);
  const auto seen = Observe();
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_FALSE(seen->user_exists());
  for (const absl::Status& status : {SetGroups(), SetKeys()}) {
    EXPECT_TRUE(absl::IsAborted(status)) << status;
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("/etc/passwd in the guest is not a regular file"));
  }
  EXPECT_TRUE(agent_->SetHostname("devbox").ok());
  fs::rename("/etc/passwd.away", "/etc/passwd");
  EXPECT_TRUE(SetGroups().ok());
  EXPECT_TRUE(SetKeys().ok());
}

TEST_F(PoisonedGuest, AHeldLockIsNamed) {
  Spill("/etc/gshadow.lock", std::to_string(getpid()));
  EXPECT_TRUE(absl::IsAborted(SetGroups()));
  EXPECT_THAT(std::string(SetGroups().message()), HasSubstr("/etc/gshadow.lock is held by "));
  EXPECT_TRUE(SetKeys().ok());
  fs::remove("/etc/gshadow.lock");
  EXPECT_TRUE(SetGroups().ok());
}

TEST_F(PoisonedGuest, ATableOfMountsThatCannotBeWrittenIsNamedAndTriedAgain) {
  Spill("/etc/fstab",
        "# rum: begin (written by rum-agent; edit rum.toml instead)\n"
        "none /gone ext4 rw 0 0\n# rum: end\n");
  ASSERT_EQ(mount("/etc/fstab", "/etc/fstab", nullptr, MS_BIND, nullptr), 0);
  const absl::Status status = agent_->SetStorage({}).status();
  EXPECT_TRUE(absl::IsAborted(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("/etc/fstab in the guest cannot be written: something is mounted on it"));
  // The agent may be looking at it just now.
  ASSERT_EQ(umount2("/etc/fstab", MNT_DETACH), 0);
  EXPECT_TRUE(agent_->SetStorage({}).ok());
  EXPECT_EQ(Slurp("/etc/fstab"), "");
  fs::remove("/etc/fstab");
}

TEST_F(PoisonedGuest, ATargetThatTheGuestNeedsIsNamedAndNothingIsMounted) {
  fs::remove("/etc/fstab");
  fs::create_directory("/etc/fstab");
  agent::SetStorageRequest request;
  agent::Volume* volume = request.add_volumes();
  volume->set_target("/etc");
  volume->set_type("ext4");
  volume->add_serials("none");
  const auto reply = agent_->SetStorage(request);
  ASSERT_TRUE(reply.ok()) << reply.status();
  ASSERT_EQ(reply->volumes_size(), 1);
  EXPECT_THAT(reply->volumes(0).problem(), HasSubstr("the guest needs /etc"));
  fs::remove_all("/etc/fstab");
}

}  // namespace
}  // namespace rum
