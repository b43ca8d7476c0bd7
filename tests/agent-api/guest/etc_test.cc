// SetGroups and SetHostname on a real /etc, which is this test's alone.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "agent-api/guest/authorized_keys.h"
#include "agent-api/guest/groups.h"
#include "agent-api/guest/home.h"
#include "agent-api/guest/hostname.h"
#include "agent-api/guest/text_file.h"
#include "tests/agent-api/guest/folder.h"
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

template <size_t n>
std::string Bytes(const char (&literal)[n]) {
  return {literal, n - 1};  // zeros too
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
  EXPECT_THAT(AuthorizedKeysOf(*FindAccount("dev")), ElementsAre("ssh-rsa B"));
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

// Of a file's way into the guest that rum knows nothing of.
TEST_F(Etc, LinkedFilesAreWrittenThroughTheirLinks) {
  std::filesystem::create_directory("/etc/persist");
  for (const std::string name : {"group", "gshadow", "hosts", "hostname"}) {
    std::filesystem::rename("/etc/" + name, "/etc/persist/" + name);
    std::filesystem::create_symlink("persist/" + name, "/etc/" + name);
  }
  ASSERT_TRUE(SetGroups("dev", {"video"}, {}).ok());
  ASSERT_TRUE(SetHostname("devbox").ok());
  for (const std::string name : {"group", "gshadow", "hosts", "hostname"}) {
    EXPECT_TRUE(std::filesystem::is_symlink("/etc/" + name)) << name;
  }
  EXPECT_EQ(ReadFile("/etc/persist/hostname"), "devbox\n");
  EXPECT_THAT(ReadFile("/etc/persist/hosts"), HasSubstr("127.0.1.1\tdevbox\n"));
  EXPECT_THAT(GroupsOf("dev"), ElementsAre("adm", "video"));
  std::filesystem::remove_all("/etc/persist");
}

TEST_F(Etc, WhatCannotBeReplacedSaysWhyAndKeepsNothingElseFromItsWork) {
  Spill("/etc/given", "10.0.0.9 other\n");
  ASSERT_EQ(mount("/etc/given", "/etc/hosts", nullptr, MS_BIND, nullptr), 0);
  const absl::Status status = SetHostname("devbox");
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("/etc/hosts in the guest cannot be written: something is mounted on it"));
  EXPECT_EQ(KernelHostname(), "devbox");
  EXPECT_EQ(ReadFile("/etc/hostname"), "devbox\n");
  EXPECT_EQ(ReadFile("/etc/given"), "10.0.0.9 other\n");
  ASSERT_EQ(umount("/etc/hosts"), 0);
  EXPECT_FALSE(std::filesystem::exists("/etc/hosts.rum-new"));
}

// Whoever holds it is left alone, and named; nobody waits for long.
TEST_F(Etc, AHeldLockFailsTheGroupsAloneAndSoon) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t holder = fork();
  if (holder == 0) {
    struct flock lock {};
    lock.l_type = F_WRLCK;
    const int fd = open("/etc/.pwd.lock", O_WRONLY | O_CREAT, 0600);
    if (fcntl(fd, F_SETLK, &lock) == 0) (void)!write(ready[1], "x", 1);
    pause();
    _exit(0);
  }
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  const auto begin = std::chrono::steady_clock::now();
  const absl::Status status = SetGroups("dev", {"video"}, {});
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("(pid " + std::to_string(holder) + ")"));
  EXPECT_TRUE(SetHostname("devbox").ok());
  kill(holder, SIGKILL);
  waitpid(holder, nullptr, 0);
  close(ready[0]);
  close(ready[1]);
  EXPECT_TRUE(SetGroups("dev", {"video"}, {}).ok());
}

TEST_F(Etc, ALockFileOfALivingProcessIsHonouredAndAStaleOneIsNot) {
  Spill("/etc/group.lock", std::to_string(getpid()) + std::string(1, '\0'));
  EXPECT_THAT(std::string(SetGroups("dev", {"video"}, {}).message()),
              HasSubstr("/etc/group.lock is held by "));
  Spill("/etc/group.lock", "junk");
  EXPECT_THAT(std::string(SetGroups("dev", {"video"}, {}).message()), HasSubstr("remove it"));
  const pid_t over = fork();
  if (over == 0) _exit(0);
  waitpid(over, nullptr, 0);
  Spill("/etc/group.lock", std::to_string(over));
  EXPECT_TRUE(SetGroups("dev", {"video"}, {}).ok());
  std::filesystem::remove("/etc/group.lock");
}

TEST_F(Etc, DamagedRowsHideNoOthers) {
  Spill("/etc/passwd", Bytes("junk\n:::\ndev:x::1000::/root:/bin/sh\n\0\0:x\n") +
                           std::string(100000, 'x') + "\ndev:x:1000:1000:D\xe4v:/home/dev:/bin/sh");
  const std::string rest = Bytes("a:x:1:\0\ngr\xfcn:x:7:dev\n:::\nx:y\n") +
                           "long:x:8:" + std::string(100000, 'y') + "\nno:x:zz:dev\n";
  Spill("/etc/group", rest + "video:x:44:");
  ASSERT_EQ(FindAccount("dev")->uid, 1000u) << "a row without an id is no row";
  EXPECT_THAT(GroupsOf("dev"), testing::Contains("gr\xfcn"));
  EXPECT_THAT(GroupIdsOf("dev"), ElementsAre(7u));
  ASSERT_TRUE(SetGroups("dev", {"video"}, {}).ok());
  EXPECT_EQ(ReadFile("/etc/group"), rest + "video:x:44:dev") << "byte for byte but for that";
}

TEST_F(Etc, AFileOfKeysThatIsRootsStaysRoots) {
  std::filesystem::create_directory("/home/dev/.ssh");
  ASSERT_EQ(chown("/home/dev/.ssh", 1000, 1000), 0);
  Spill("/home/dev/.ssh/authorized_keys", "# by sudo tee\nssh-rsa A me");
  ASSERT_EQ(chmod("/home/dev/.ssh/authorized_keys", 0644), 0);
  ASSERT_TRUE(SetAuthorizedKeys("dev", {"ssh-rsa B you"}, {}).ok());
  EXPECT_EQ(ReadFile("/home/dev/.ssh/authorized_keys"),
            "# by sudo tee\nssh-rsa A me\nssh-rsa B you\n");
  EXPECT_EQ(FactsOf("/home/dev/.ssh/authorized_keys"), (Facts{S_IFREG | 0644, 0, 0}));
}

TEST_F(Etc, KeysAreWrittenThroughLinksOfTheUsers) {
  std::filesystem::create_directory("/home/dev/dotfiles");
  ASSERT_EQ(chown("/home/dev/dotfiles", 1000, 1000), 0);
  std::filesystem::create_symlink("dotfiles/ssh", "/home/dev/.ssh");
  ASSERT_TRUE(SetAuthorizedKeys("dev", {"ssh-rsa A me"}, {}).ok());
  EXPECT_TRUE(std::filesystem::is_symlink("/home/dev/.ssh"));
  EXPECT_EQ(FactsOf("/home/dev/dotfiles/ssh"), (Facts{S_IFDIR | 0700, 1000, 1000}));
  EXPECT_EQ(ReadFile("/home/dev/dotfiles/ssh/authorized_keys"), "ssh-rsa A me\n");
}

TEST_F(Etc, AUsersLinkToWhatOnlyRootMayReadIsNeitherReadNorReplaced) {
  Spill("/etc/secret", "ssh-rsa SECRET root\n");
  ASSERT_EQ(chmod("/etc/secret", 0640), 0);  // root's group, which root's processes may be in
  std::filesystem::create_directory("/home/dev/.ssh");
  std::filesystem::create_symlink("/etc/secret", "/home/dev/.ssh/authorized_keys");
  ASSERT_EQ(chown("/home/dev/.ssh", 1000, 1000), 0);
  EXPECT_TRUE(AuthorizedKeysOf(*FindAccount("dev")).empty());
  EXPECT_FALSE(SetAuthorizedKeys("dev", {"ssh-rsa A me"}, {}).ok());
  EXPECT_EQ(ReadFile("/etc/secret"), "ssh-rsa SECRET root\n");
}

// A home that only root can make: /home on an empty drive.
TEST_F(Etc, AMissingHomeIsMadeAsUseraddWouldAndTheKeysFollow) {
  std::filesystem::create_directories("/etc/skel/.config");
  Spill("/etc/skel/.profile", "# hi\n");
  std::filesystem::create_symlink(".profile", "/etc/skel/.login");
  Spill("/etc/login.defs", "# HOME_MODE 0755\nUMASK 022\nHOME_MODE\t0750\n");
  std::filesystem::remove_all("/home/dev");
  ASSERT_EQ(AccountsIn("/home").size(), 1u);
  EXPECT_EQ(AccountsIn("/home")[0].name, "dev");
  EXPECT_TRUE(LacksHome(*FindAccount("dev")));
  ASSERT_TRUE(SetAuthorizedKeys("dev", {"ssh-rsa A me"}, {}).ok());
  EXPECT_EQ(FactsOf("/home/dev"), (Facts{S_IFDIR | 0750, 1000, 1000}));
  EXPECT_EQ(FactsOf("/home/dev/.profile").uid, 1000u);
  EXPECT_EQ(FactsOf("/home/dev/.config").uid, 1000u);
  EXPECT_TRUE(std::filesystem::is_symlink("/home/dev/.login"));
  EXPECT_EQ(FactsOf("/home/dev/.ssh"), (Facts{S_IFDIR | 0700, 1000, 1000}));
  EXPECT_FALSE(LacksHome(*FindAccount("dev")));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator("/home"), {}), 1);
  std::filesystem::remove_all("/etc/skel");
  std::filesystem::remove("/etc/login.defs");
}

TEST_F(Etc, TheBareRootOfADriveBecomesAHomeAndAUsedOneIsLeftAlone) {
  ASSERT_EQ(mount("tmpfs", "/home/dev", "tmpfs", 0, "mode=755"), 0);
  std::filesystem::create_directory("/home/dev/lost+found");
  ASSERT_TRUE(LacksHome(*FindAccount("dev")));
  ASSERT_TRUE(MakeHome(*FindAccount("dev")).ok());
  EXPECT_EQ(FactsOf("/home/dev"), (Facts{S_IFDIR | 0755, 1000, 1000}));
  EXPECT_EQ(FactsOf("/home/dev/lost+found").uid, 0u);
  EXPECT_FALSE(LacksHome(*FindAccount("dev")));
  ASSERT_EQ(chown("/home/dev", 0, 0), 0);
  Spill("/home/dev/data", "root's");
  EXPECT_FALSE(LacksHome(*FindAccount("dev"))) << "somebody uses it";
  ASSERT_EQ(umount("/home/dev"), 0);
}

}  // namespace
}  // namespace rum::guest
