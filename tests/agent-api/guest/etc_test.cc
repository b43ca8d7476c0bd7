// SetGroups and SetHostname on a real /etc, which is this test's alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "agent-api/guest/authorized_keys.h"
#include "agent-api/guest/groups.h"
#include "agent-api/guest/hostname.h"
#include "agent-api/guest/text_file.h"
#include "tests/agent-api/guest/private_etc.h"

namespace rum::guest {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Etc : public testing::Test {
 protected:
  static void SetUpTestSuite() { EnterPrivateEtc(); }
  void SetUp() override { FillEtc(); }
};

struct Facts {
  mode_t mode;
  uid_t uid;
  gid_t gid;
  friend bool operator==(const Facts&, const Facts&) = default;
};
Facts FactsOf(const std::string& path) {
  struct stat file {};
  stat(path.c_str(), &file);
  return {file.st_mode, file.st_uid, file.st_gid};
}

TEST_F(Etc, OnlyTheNamedGroupsChangeAndGshadowFollows) {
  ASSERT_TRUE(SetGroups("dev", {"docker", "video"}, {"adm"}).ok());
  EXPECT_EQ(ReadFile("/etc/group"),
            "root:x:0:\nadm:x:4:syslog\nvideo:x:44:dev\ndocker:x:998:other,dev\ndev:x:1000:\n"
            "nogroup:x:65534:\n");
  EXPECT_EQ(ReadFile("/etc/gshadow"),
            "root:*::\nadm:*::syslog\nvideo:*::dev\ndocker:!:boss:other,dev\ndev:!::\n"
            "nogroup:*::\n");
  EXPECT_THAT(GroupsOf("dev"), ElementsAre("docker", "video"));
  EXPECT_THAT(GroupIdsOf("dev"), ElementsAre(44u, 998u));
}

TEST_F(Etc, OwnerAndModeStay) {
  const Facts group = FactsOf("/etc/group");
  const Facts shadow = FactsOf("/etc/gshadow");
  ASSERT_TRUE(SetGroups("dev", {"video"}, {}).ok());
  EXPECT_EQ(FactsOf("/etc/group"), group);
  EXPECT_EQ(FactsOf("/etc/gshadow"), shadow);
}

TEST_F(Etc, WhatHoldsAlreadyIsNotWrittenAgain) {
  struct stat before {};
  stat("/etc/group", &before);
  ASSERT_TRUE(SetGroups("dev", {"adm"}, {"video", "nowhere"}).ok());
  struct stat after {};
  stat("/etc/group", &after);
  EXPECT_EQ(before.st_ino, after.st_ino);
}

TEST_F(Etc, AMissingGroupIsMadeInBothFiles) {
  ASSERT_TRUE(SetGroups("dev", {"kvm", "plugdev"}, {}).ok());
  EXPECT_THAT(ReadFile("/etc/group"), HasSubstr("kvm:x:999:dev\nplugdev:x:997:dev\n"));
  EXPECT_THAT(ReadFile("/etc/gshadow"), HasSubstr("kvm:!::dev\nplugdev:!::dev\n"));
}

TEST_F(Etc, WithoutGshadowNoneIsMade) {
  std::filesystem::remove("/etc/gshadow");
  ASSERT_TRUE(SetGroups("dev", {"video"}, {}).ok());
  EXPECT_FALSE(std::filesystem::exists("/etc/gshadow"));
}

// Cut off between the two files, the next call makes the second one right.
TEST_F(Etc, AGshadowThatFellBehindIsBroughtUp) {
  const std::string old = ReadFile("/etc/gshadow");
  ASSERT_TRUE(SetGroups("dev", {"video", "kvm"}, {}).ok());
  const std::string wanted = ReadFile("/etc/gshadow");
  ASSERT_TRUE(WriteFileAtomically("/etc/gshadow", old, 0640).ok());
  ASSERT_TRUE(SetGroups("dev", {"video", "kvm"}, {}).ok());
  EXPECT_EQ(ReadFile("/etc/gshadow"), wanted);
}

TEST_F(Etc, AFileThatCannotBeReadIsNotReplaced) {
  for (const char* name : {"/etc/group", "/etc/gshadow"}) {
    FillEtc();
    std::filesystem::remove(name);
    std::filesystem::create_directory(name);
    EXPECT_FALSE(SetGroups("dev", {"video"}, {}).ok()) << name;
    EXPECT_TRUE(std::filesystem::is_directory(name));
  }
  FillEtc();
  std::filesystem::remove("/etc/group");
  EXPECT_EQ(SetGroups("dev", {"video"}, {}).code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(std::filesystem::exists("/etc/group"));
  std::filesystem::remove("/etc/hosts");
  std::filesystem::create_directory("/etc/hosts");
  EXPECT_FALSE(SetHostname("new").ok());
  EXPECT_TRUE(std::filesystem::is_directory("/etc/hosts"));
}

TEST_F(Etc, AnUnknownUserAndHostileNamesAreRefused) {
  const std::string before = ReadFile("/etc/group");
  EXPECT_EQ(SetGroups("ghost", {"video"}, {}).code(), absl::StatusCode::kFailedPrecondition);
  for (const std::string& name :
       {std::string(), std::string("a:b"), std::string("a,b"), std::string("a\nroot:x:0:dev"),
        std::string("a b"), std::string("-x"), std::string("+"), std::string("a\0b", 3)}) {
    EXPECT_EQ(SetGroups("dev", {name}, {}).code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_EQ(SetGroups("dev", {}, {name}).code(), absl::StatusCode::kInvalidArgument) << name;
  }
  EXPECT_EQ(ReadFile("/etc/group"), before);
}

TEST_F(Etc, CallsAtTheSameTimeAllTakeEffect) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back(
        [i] { EXPECT_TRUE(SetGroups("dev", {"group" + std::to_string(i)}, {}).ok()); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(GroupsOf("dev").size(), 9u);  // and adm
  std::vector<gid_t> ids = GroupIdsOf("dev");
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(std::unique(ids.begin(), ids.end()), ids.end());
}

TEST_F(Etc, TheHostnameIsSetInAllThreePlaces) {
  ASSERT_TRUE(SetHostname("devbox.lan").ok());
  EXPECT_EQ(KernelHostname(), "devbox.lan");
  EXPECT_EQ(ReadFile("/etc/hostname"), "devbox.lan\n");
  EXPECT_EQ(ReadFile("/etc/hosts"),
            "# made by hand\n127.0.0.1\tlocalhost\n127.0.1.1\tdevbox.lan\tdevbox\n\n"
            "10.0.0.5  db db.lan # old\n::1\tlocalhost ip6-localhost\n");
}

TEST_F(Etc, AHostnameWithoutFilesMakesThem) {
  std::filesystem::remove("/etc/hosts");
  std::filesystem::remove("/etc/hostname");
  ASSERT_TRUE(SetHostname("devbox").ok());
  EXPECT_EQ(ReadFile("/etc/hostname"), "devbox\n");
  EXPECT_EQ(ReadFile("/etc/hosts"), "127.0.1.1\tdevbox\n");
  EXPECT_EQ(FactsOf("/etc/hosts").mode & 0777, 0644u);
}

TEST_F(Etc, ALongNameLeavesItsFirstLabelToTheKernel) {
  const std::string name = "devbox." + std::string(60, 'a') + ".lan";
  ASSERT_TRUE(SetHostname(name).ok());
  EXPECT_EQ(KernelHostname(), "devbox");
  EXPECT_EQ(ReadFile("/etc/hostname"), name + "\n");
}

TEST_F(Etc, WhatIsNoHostnameChangesNothing) {
  const std::string hosts = ReadFile("/etc/hosts");
  for (const std::string& name :
       {std::string(), std::string("a b"), std::string("a\n10.0.0.1 bank"), std::string("a/b"),
        std::string("#"), std::string(".lan"), std::string(65, 'a'), std::string("a\0b", 3),
        "a." + std::string(300, 'b')}) {
    EXPECT_EQ(SetHostname(name).code(), absl::StatusCode::kInvalidArgument) << name;
  }
  EXPECT_EQ(KernelHostname(), "old");
  EXPECT_EQ(ReadFile("/etc/hostname"), "old\n");
  EXPECT_EQ(ReadFile("/etc/hosts"), hosts);
}

TEST_F(Etc, AccountsAreFoundByTheirWholeName) {
  EXPECT_FALSE(FindAccount("de").has_value());
  EXPECT_FALSE(FindAccount("").has_value());
  const auto account = FindAccount("dev");
  ASSERT_TRUE(account.has_value());
  EXPECT_EQ(account->uid, 1000u);
  EXPECT_EQ(account->home, "/home/dev");
  EXPECT_EQ(account->shell, "/bin/sh");
}

TEST_F(Etc, KeysAreTheUsersOwnFileThatOnlyTheUserReads) {
  ASSERT_TRUE(SetAuthorizedKeys("dev", {"ssh-rsa A me", "ssh-rsa B you"}, {}).ok());
  EXPECT_EQ(ReadFile("/home/dev/.ssh/authorized_keys"), "ssh-rsa A me\nssh-rsa B you\n");
  EXPECT_EQ(FactsOf("/home/dev/.ssh"), (Facts{S_IFDIR | 0700, 1000, 1000}));
  EXPECT_EQ(FactsOf("/home/dev/.ssh/authorized_keys"), (Facts{S_IFREG | 0600, 1000, 1000}));
  ASSERT_TRUE(SetAuthorizedKeys("dev", {}, {"ssh-rsa A"}).ok());
  EXPECT_THAT(AuthorizedKeysOf("dev"), ElementsAre("ssh-rsa B"));
}

TEST_F(Etc, ALinkInTheHomeLeadsNowhereThatTheUserMayNotGo) {
  std::filesystem::create_directory("/etc/secret");
  std::filesystem::permissions("/etc/secret", std::filesystem::perms::owner_all);
  std::filesystem::create_symlink("/etc/secret", "/home/dev/.ssh");
  EXPECT_FALSE(SetAuthorizedKeys("dev", {"ssh-rsa A me"}, {}).ok());
  EXPECT_TRUE(std::filesystem::is_empty("/etc/secret"));
  std::filesystem::remove("/etc/secret");
}

TEST_F(Etc, WhatIsNoKeyOrNobodysIsRefused) {
  EXPECT_TRUE(absl::IsInvalidArgument(SetAuthorizedKeys("dev", {"hello"}, {})));
  EXPECT_TRUE(absl::IsInvalidArgument(SetAuthorizedKeys("dev", {"ssh-rsa A\nroot"}, {})));
  EXPECT_TRUE(absl::IsFailedPrecondition(SetAuthorizedKeys("ghost", {"ssh-rsa A"}, {})));
}

}  // namespace
}  // namespace rum::guest
