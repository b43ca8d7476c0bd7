// A controller that may have no more descriptors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <string>

#include "tests/cli/sandbox.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class LimitsTest : public testing::Test {
 protected:
  LimitsTest() { rum_.Write("dev.rum.toml", GoodToml()); }

  Result Status() { return rum_.Rum({"-c", "dev.rum.toml", "status"}); }
  // A controller that may open `left` descriptors more.
  pid_t StartWith(rlim_t left) {
    EXPECT_EQ(Status().exit_status, 0);
    const pid_t pid = rum_.ControllerPid();
    rlimit limit{};
    EXPECT_EQ(prlimit(pid, RLIMIT_NOFILE, nullptr, &limit), 0);
    limit.rlim_cur = FirstFree(pid) + left;
    EXPECT_EQ(prlimit(pid, RLIMIT_NOFILE, &limit, nullptr), 0);
    return pid;
  }
  // The lowest number that is not in use.
  static rlim_t FirstFree(pid_t pid) {
    rlim_t number = 0;
    while (fs::exists(
        fs::symlink_status("/proc/" + std::to_string(pid) + "/fd/" + std::to_string(number)))) {
      ++number;
    }
    return number;
  }

  Sandbox rum_;
};

TEST_F(LimitsTest, WithoutAnyDescriptorQuestionsAreAnsweredAndTheEndIsHeard) {
  const pid_t pid = StartWith(0);
  for (int i = 0; i < 5; ++i) {
    const Result status = Status();
    EXPECT_EQ(status.exit_status, 0) << status.err;
  }
  const Result list = rum_.Rum({"list"});
  EXPECT_EQ(list.exit_status, 0) << list.err;
  const Result up = rum_.Rum({"-c", "dev.rum.toml", "up", "-d"});
  EXPECT_EQ(up.exit_status, 1);
  EXPECT_THAT(up.err, HasSubstr("no file descriptors left"));
  const Result stop = rum_.Rum({"controller", "stop"});
  EXPECT_EQ(stop.exit_status, 0) << stop.err;
  EXPECT_TRUE(IsGone(pid, std::chrono::seconds(60)));
}

TEST_F(LimitsTest, OneThatHasNoneIsReplacedByOneThatHas) {
  const pid_t pid = StartWith(0);
  const Result restart = rum_.Rum({"controller", "restart"});
  EXPECT_EQ(restart.exit_status, 0) << restart.err;
  EXPECT_TRUE(IsGone(pid, std::chrono::seconds(60)));
  EXPECT_EQ(Status().exit_status, 0);
}

}  // namespace
}  // namespace rum
