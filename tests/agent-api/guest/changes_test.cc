#include "agent-api/guest/changes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "agent-api/guest/authorized_keys.h"
#include "agent-api/guest/card_setup.h"
#include "agent-api/guest/cards.h"
#include "agent-api/guest/groups.h"
#include "agent-api/guest/mount_table.h"
#include "agent-api/guest/storage.h"
#include "agent-api/guest/text_file.h"
#include "tests/agent-api/guest/private_etc.h"

namespace rum::guest {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;

constexpr std::chrono::seconds kPatience{20};

agent::Observation Look(const agent::ObserveRequest& request) {
  agent::Observation seen;
  seen.set_hostname(KernelHostname());
  seen.set_static_hostname(FirstLine(ReadFile("/etc/hostname")));
  const std::optional<Account> user = FindAccount(request.user());
  seen.set_user_exists(user.has_value());
  for (const std::string& group : GroupsOf(request.user())) seen.add_groups(group);
  if (user.has_value())
    for (const std::string& key : AuthorizedKeysOf(*user)) seen.add_authorized_keys(key);
  for (const std::string& target : StaleTargets({})) seen.add_stale_targets(target);
  return seen;
}

// As tools do it: a new file in the place of the old one.
void Replace(const std::string& path, const std::string& from, const std::string& to) {
  std::string text = ReadFile(path);
  const size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos) << path << ": " << text;
  std::ofstream(path + "+") << text.replace(at, from.size(), to);
  fs::rename(path + "+", path);
}

class ChangesTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { EnterPrivateEtc(); }
  void SetUp() override { FillEtc(); }
  // The host looks, and a change after it is what the next word is of.
  void Observe(const std::string& user = "dev") {
    agent::ObserveRequest request;
    request.set_user(user);
    changes_.Told(request, Look(request));
    seen_ = changes_.count();
  }
  std::vector<std::string> Next() {
    agent::Changed change;
    EXPECT_TRUE(changes_.Next(kPatience, &seen_, &change)) << "nothing was told";
    EXPECT_GT(change.at_ms(), 0);
    return {change.what().begin(), change.what().end()};
  }

  Changes changes_{Look};
  uint64_t seen_ = 0;
};

TEST_F(ChangesTest, TellOfTheKernelsHostname) {
  Observe();
  ASSERT_EQ(sethostname("typed", 5), 0);
  EXPECT_THAT(Next(), ElementsAre("hostname"));
  ASSERT_EQ(sethostname("again", 5), 0);
  EXPECT_THAT(Next(), ElementsAre("hostname"));
}

TEST_F(ChangesTest, TellOfFilesThatAreReplacedOrWritten) {
  Observe();
  Replace("/etc/hostname", "old", "typed");
  EXPECT_THAT(Next(), ElementsAre("static_hostname"));
  Replace("/etc/group", "syslog,dev", "syslog");
  EXPECT_THAT(Next(), ElementsAre("groups"));
  std::ofstream("/etc/hostname") << "in place\n";
  EXPECT_THAT(Next(), ElementsAre("static_hostname"));
}

TEST_F(ChangesTest, TellOfKeysAlsoWhenTheirFolderIsNew) {
  Observe();
  fs::create_directory("/home/dev/.ssh");
  std::ofstream("/home/dev/.ssh/authorized_keys") << "ssh-rsa AAAA me\n";
  EXPECT_THAT(Next(), ElementsAre("authorized_keys"));
  Replace("/home/dev/.ssh/authorized_keys", "AAAA", "BBBB");
  EXPECT_THAT(Next(), ElementsAre("authorized_keys"));
  fs::remove_all("/home/dev/.ssh");
  EXPECT_THAT(Next(), ElementsAre("authorized_keys"));
  fs::create_directory("/home/dev/.ssh");
  std::ofstream("/home/dev/.ssh/authorized_keys") << "ssh-rsa AAAA me\n";
  EXPECT_THAT(Next(), ElementsAre("authorized_keys"));
}

TEST_F(ChangesTest, TellOfWhatALinkLeadsTo) {
  fs::create_directory("/etc/kept");
  fs::rename("/etc/hostname", "/etc/kept/name");
  fs::create_symlink("kept/name", "/etc/hostname");
  fs::create_directories("/home/dev/dotfiles/ssh");
  fs::create_symlink("dotfiles/ssh", "/home/dev/.ssh");
  std::ofstream("/home/dev/dotfiles/ssh/authorized_keys") << "ssh-rsa AAAA me\n";
  Observe();
  changes_.Notice();  // the links are followed from its next look on
  std::ofstream("/etc/kept/name") << "in place\n";
  EXPECT_THAT(Next(), ElementsAre("static_hostname"));
  Replace("/etc/kept/name", "in place", "replaced");
  EXPECT_THAT(Next(), ElementsAre("static_hostname"));
  Replace("/home/dev/dotfiles/ssh/authorized_keys", "AAAA", "BBBB");
  EXPECT_THAT(Next(), ElementsAre("authorized_keys"));
  fs::remove_all("/etc/kept");
  EXPECT_THAT(Next(), ElementsAre("static_hostname"));
}

TEST_F(ChangesTest, TellOfRightsAndOfTheTableOfMounts) {
  fs::create_directory("/home/dev/.ssh");
  std::ofstream("/home/dev/.ssh/authorized_keys") << "ssh-rsa AAAA me\n";
  Observe();
  ASSERT_EQ(chmod("/home/dev/.ssh/authorized_keys", 0), 0);
  EXPECT_THAT(Next(), ElementsAre("authorized_keys"));
  std::ofstream("/etc/fstab") << WithOwnLines("", "none /gone ext4 rw 0 0\n");
  EXPECT_THAT(Next(), ElementsAre("stale_targets"));
  fs::remove("/etc/fstab");
}

TEST_F(ChangesTest, AreNotWhatConcernsOthers) {
  Observe();
  Replace("/etc/group", "docker:x:998:other", "docker:x:998:other,another");
  Replace("/etc/hosts", "db.lan", "db.home");
  std::ofstream("/etc/profile") << "true\n";
  ASSERT_EQ(sethostname("typed", 5), 0);
  EXPECT_THAT(Next(), ElementsAre("hostname"));
  EXPECT_EQ(changes_.count(), 1u);
}

TEST_F(ChangesTest, ThatTheHostHasSeenAlreadyAreNoNews) {
  Observe();
  Replace("/etc/hostname", "old", "typed");
  Next();
  ASSERT_EQ(sethostname("typed", 5), 0);
  Observe();  // the host looks before the guest can tell
  Replace("/etc/group", "syslog,dev", "syslog");
  const std::vector<std::string> what = Next();
  EXPECT_THAT(what, testing::Contains("groups"));
}

TEST_F(ChangesTest, OfAUserThatIsAskedForLaterAreToldToo) {
  Observe("nobody");
  Observe("dev");
  Replace("/etc/group", "syslog,dev", "syslog");
  EXPECT_THAT(Next(), ElementsAre("groups"));
}

TEST_F(ChangesTest, TellOfTheCardsOfTheRequest) {
  ASSERT_EQ(unshare(CLONE_NEWNET), 0);
  CardSetup setup;
  Changes changes([&](const agent::ObserveRequest& request) {
    Cards cards;
    agent::Observation seen;
    for (const auto& state :
         setup.Look({request.cards().begin(), request.cards().end()}, cards.Now()))
      *seen.add_card_states() = state;
    return seen;
  });
  agent::ObserveRequest request;
  request.add_cards("52:54:00:00:00:01");
  changes.Told(request, agent::Observation());
  uint64_t seen = changes.count();
  ASSERT_EQ(std::system("ip link add other type bridge && ip link add card0 type bridge && "
                        "ip link set card0 address 52:54:00:00:00:01"),
            0);
  agent::Changed change;
  ASSERT_TRUE(changes.Next(kPatience, &seen, &change));
  EXPECT_THAT(std::vector<std::string>(change.what().begin(), change.what().end()),
              ElementsAre("card_states"));
}

TEST(Differences, AreNeitherAddressesNorRunsThatGoOn) {
  agent::Observation told, now;
  now.add_cards()->set_name("eth0");
  now.add_runs()->set_run_id("boot-1");
  EXPECT_TRUE(Differences(told, now).empty());
  now.mutable_runs(0)->set_ended_ms(1);
  EXPECT_THAT(Differences(told, now), ElementsAre("runs"));
}

}  // namespace
}  // namespace rum::guest
