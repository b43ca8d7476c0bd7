// What `rum check` accepts can hold in a guest: valid files, drawn as in valid_files_test.cc, on
// the real agent in a hostname, an /etc and a /home of its own. There are no drives and no shared
// folders, so that each of these has to name its reason, and to hide nothing else.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent-api/client/guest_agent.h"
#include "agent-api/guest/groups.h"
#include "agent-api/guest/hosts_file.h"
#include "agent-api/guest/text_file.h"
#include "state/toml_reader.h"
#include "tests/agent-api/client/agent_process.h"
#include "tests/agent-api/guest/private_etc.h"
#include "tests/controller/fake_world.h"
#include "tests/controller/valid_files.h"

namespace rum {
namespace {

int Setting(const char* name, int otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::atoi(value);
}

// As cloud-init does at the first boot.
void MakeUser(const std::string& name) {
  const bool root = name == "root";
  const std::string home = "/home/" + name;  // root's real one is this machine's
  std::ofstream("/etc/passwd") << absl::StrCat("root:x:0:0:root:/home/root:/bin/sh\n", name,
                                               ":x:1001:1001::", home, ":/bin/sh\n");
  if (!root) std::ofstream("/etc/group", std::ios::app) << name << ":x:1001:\n";
  std::filesystem::remove_all(home);
  std::filesystem::create_directory(home);
  if (!root) ASSERT_EQ(chown(home.c_str(), 1001, 1001), 0);
}

bool IsStorage(const Item& item) {
  return absl::StartsWith(item.field(), "fs.") || absl::StartsWith(item.field(), "mounts[");
}

class ValidFilesInAGuest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    EnterPrivateEtc();
    ProtectRoot();
    // A card with an address, for which each machine waits; ports are looked for on lo.
    ASSERT_EQ(unshare(CLONE_NEWNET), 0);
    ASSERT_EQ(std::system("ip link set lo up && ip link add card0 type bridge && "
                          "ip address add 192.0.2.7/24 dev card0"),
              0);
  }

  // With other eyes than the agent's.
  static void ExpectHolds(const Config& config) {
    EXPECT_EQ(KernelHostname(), config.network().hostname());
    EXPECT_TRUE(guest::NamesHost(guest::ReadFile("/etc/hosts"), config.network().hostname()));
    const std::vector<std::string> groups = guest::GroupsOf(config.user().name());
    for (const std::string& group : config.user().groups()) {
      EXPECT_THAT(groups, testing::Contains(group));
    }
  }

  const std::string state_ = absl::StrCat(std::getenv("TEST_TMPDIR"), "/agent");
};

TEST_F(ValidFilesInAGuest, EachEndsInSyncOrInANamedReason) {
  const int seed = Setting("RUM_TEST_SEED", 20261130);
  ValidFiles files(static_cast<unsigned>(seed));
  AgentProcess agent(state_);
  int whole = 0;
  const int count = Setting("RUM_TEST_FILES", 200);
  for (int i = 0; i < count; ++i) {
    const std::string text = files.Next();
    SCOPED_TRACE(absl::StrCat("seed ", seed, ", file ", i, ":\n", text));
    FakeWorld world;
    world.agent = [&](std::function<void()> on_change) {
      return ConnectGuestAgent(agent.opener(), std::move(on_change));
    };
    world.SaveText(text);
    const Config config = ReadTomlFile(world.identity.config_path).config;
    FillEtc();
    MakeUser(config.user().name());
    const std::unique_ptr<Machine> machine = world.NewMachine();
    const Seen up = Apply(*machine, Trusting(*machine, Up()));
    ExpectHolds(config);
    const MachineStatus status = machine->Status();
    EXPECT_EQ(status.phase(), MachineStatus::RUNNING);
    EXPECT_EQ(status.error() + status.config_error(), "");
    std::vector<std::string> open;
    for (const Item& item : status.items()) {
      if (item.state() == Item::HOLDS) continue;
      open.push_back(absl::StrCat(item.field(), ": ", item.text(), item.reason()));
      EXPECT_TRUE(IsStorage(item) || absl::StartsWith(item.field(), "provision.")) << item.field();
      EXPECT_NE(item.text() + item.reason(), "") << item.field();
    }
    // The guest is one for all, and remembers a script that failed in a file before.
    EXPECT_TRUE(!up.outcome.failed || !open.empty()) << testing::PrintToString(up.failed);
    whole += open.empty() ? 1 : 0;
    if (HasFailure()) return;
  }
  EXPECT_GT(whole, 0) << "a reason for everything is none";
}

}  // namespace
}  // namespace rum
