// A controller that may have no more descriptors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "tests/cli/sandbox.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class LimitsTest : public testing::Test {
 protected:
  LimitsTest() { rum_.Write("dev.rum.toml", GoodToml()); }

  Result Status() { return rum_.Rum({"-c", "dev.rum.toml", "status"}); }
  // A controller that can open nothing more: those who say nothing have what was left.
  pid_t StartWithout() {
    EXPECT_EQ(Status().exit_status, 0);
    const pid_t pid = rum_.ControllerPid();
    std::set<rlim_t> open;
    for (const auto& fd : fs::directory_iterator("/proc/" + std::to_string(pid) + "/fd")) {
      open.insert(std::stoul(fd.path().filename()));
    }
    rlimit limit{};
    EXPECT_EQ(prlimit(pid, RLIMIT_NOFILE, nullptr, &limit), 0);
    // Each has two: its socket, and what its end is seen on. So the numbers left are to be even.
    limit.rlim_cur = *open.rbegin() + 1;
    rlim_t left = limit.rlim_cur - open.size();
    while (left % 2 == 1) {
      if (open.count(--limit.rlim_cur) == 0) --left;
    }
    EXPECT_EQ(prlimit(pid, RLIMIT_NOFILE, &limit, nullptr), 0);
    for (rlim_t i = 0; i < left / 2; ++i) silent_.push_back(Connect());
    return pid;
  }
  int Connect() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = rum_.runtime() + "/controller.sock";
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    char byte = 0;
    EXPECT_EQ(read(fd, &byte, 1), 1) << "it is let in";
    return fd;
  }
  ~LimitsTest() override {
    for (const int fd : silent_) close(fd);
  }

  std::vector<int> silent_;
  Sandbox rum_;
};

TEST_F(LimitsTest, WithoutAnyDescriptorQuestionsAreAnsweredAndTheEndIsHeard) {
  const pid_t pid = StartWithout();
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
  const pid_t pid = StartWithout();
  const Result restart = rum_.Rum({"controller", "restart"});
  EXPECT_EQ(restart.exit_status, 0) << restart.err;
  EXPECT_TRUE(IsGone(pid, std::chrono::seconds(60)));
  EXPECT_EQ(Status().exit_status, 0);
}

}  // namespace
}  // namespace rum
