// What `rum check` accepts, the agent in the guest takes, and sees again: on a real /etc and a real
// hostname, which are this test's alone. Names are drawn by a seed (RUM_TEST_SEED).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent-api/guest/groups.h"
#include "agent-api/guest/hostname.h"
#include "agent-api/guest/hosts_file.h"
#include "agent-api/guest/text_file.h"
#include "state/names.h"
#include "tests/agent-api/guest/private_etc.h"

namespace rum::guest {
namespace {

constexpr int kNames = 200;

class AcceptedNames : public testing::Test {
 protected:
  static void SetUpTestSuite() { EnterPrivateEtc(); }
  void SetUp() override {
    FillEtc();
    const char* seed = std::getenv("RUM_TEST_SEED");
    random_.seed(seed == nullptr ? 20261130 : static_cast<unsigned>(std::atoi(seed)));
  }
  // Of the pieces that names are made of, whether they make one or not.
  std::string Draw(const std::vector<std::string>& pieces, size_t most) {
    std::string name;
    for (size_t i = random_() % most + 1; i > 0; --i) name += pieces[random_() % pieces.size()];
    return name;
  }

  std::mt19937 random_;
};

TEST_F(AcceptedNames, AGroupIsThereAndSeen) {
  const std::vector<std::string> pieces = {"a", "Z", "9", "-", "_", ".", "$", "ü",  "\\", "\"",
                                           "+", "~", ":", ",", " ", "#", "/", "\n", "*",  "!"};
  int taken = 0;
  for (int i = 0; taken < kNames; ++i) {
    ASSERT_LT(i, kNames * 100);
    const std::string name = Draw(pieces, 6);
    if (!IsGroupName(name)) continue;
    ++taken;
    FillEtc();
    const absl::Status set = SetGroups("dev", {name}, {});
    ASSERT_TRUE(set.ok()) << name << ": " << set;
    EXPECT_THAT(GroupsOf("dev"), testing::Contains(name));
    ASSERT_TRUE(SetGroups("dev", {}, {name}).ok());
    EXPECT_THAT(GroupsOf("dev"), testing::Not(testing::Contains(name)));
  }
}

TEST_F(AcceptedNames, AHostnameIsTheKernelsAndThatOfTheNextBoot) {
  const std::vector<std::string> pieces = {
      "a", "Z", "9", "-", ".", "_", "0x", "localhost", std::string(30, 'h'), std::string(63, 'k')};
  int taken = 0;
  for (int i = 0; taken < kNames; ++i) {
    ASSERT_LT(i, kNames * 100);
    const std::string name = Draw(pieces, 5);
    if (!HostnameProblem(name).empty()) continue;
    ++taken;
    const absl::Status set = SetHostname(name);
    ASSERT_TRUE(set.ok()) << name << ": " << set;
    char kernels[256] = {};
    ASSERT_EQ(gethostname(kernels, sizeof kernels), 0);
    EXPECT_EQ(kernels, name);
    EXPECT_EQ(ReadFile("/etc/hostname"), name + "\n");
    EXPECT_TRUE(NamesHost(ReadFile("/etc/hosts"), name)) << name;
  }
}

}  // namespace
}  // namespace rum::guest
