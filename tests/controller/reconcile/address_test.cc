// network.wait_for_ip and network.ip_wait_timeout_s.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "absl/strings/str_replace.h"
#include "tests/controller/fake_world.h"

namespace rum {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

constexpr char kWaiting[] = "waiting for an address";

class AddressTest : public testing::Test {
 protected:
  AddressTest() { SetAddress(""); }
  void SetAddress(const std::string& address) {
    std::lock_guard<std::mutex> lock(world_.guest->mutex);
    world_.guest->address = address;
  }
  void SaveWith(const std::string& lines) {
    const std::string text = world_.file.Toml();
    world_.SaveText(absl::StrReplaceAll(text, {{"[network]\n", "[network]\n" + lines}}));
  }
  int ScriptsRun() {
    std::lock_guard<std::mutex> lock(world_.guest->mutex);
    return static_cast<int>(world_.guest->executed.size());
  }

  FakeWorld world_;
  std::unique_ptr<Machine> machine_ = world_.NewMachine();
};

TEST_F(AddressTest, UpWaitsForTheFirstOneBeforeScriptsRun) {
  EventSink sink;
  std::atomic<int> ran_before = -1;
  sink.progress = [&](const std::string& text) {
    if (text != kWaiting) return;
    ran_before = ScriptsRun();
    SetAddress("192.0.2.7");
  };
  EXPECT_FALSE(machine_->Apply(Up(), sink).failed);
  EXPECT_EQ(ran_before, 0) << "it waited, and nothing had run";
  EXPECT_EQ(ScriptsRun(), 2);
}

TEST_F(AddressTest, OneThatDoesNotComeIsAnErrorThatNamesTheFields) {
  SaveWith("ip_wait_timeout_s = 1\n");
  const Seen up = Apply(*machine_, Up());
  EXPECT_TRUE(up.outcome.failed);
  EXPECT_THAT(up.outcome.error, HasSubstr("no address after 1s"));
  EXPECT_THAT(up.outcome.error, HasSubstr("network.ip_wait_timeout_s"));
  EXPECT_EQ(ScriptsRun(), 2) << "all the rest is done";
}

TEST_F(AddressTest, NobodyWaitsWhoDoesNotWantToOrCannotGetOne) {
  for (const char* lines : {"wait_for_ip = false\n", "nat = false\n"}) {
    SaveWith(lines);
    const Seen up = Apply(*machine_, Up());
    EXPECT_FALSE(up.outcome.failed) << lines << up.outcome.error;
    EXPECT_THAT(up.progress, Not(Contains(kWaiting))) << lines;
    EXPECT_FALSE(machine_->Down({}).failed);
  }
}

TEST_F(AddressTest, AnApplyToARunningMachineDoesNotWait) {
  SetAddress("192.0.2.7");
  ASSERT_FALSE(Apply(*machine_, Up()).outcome.failed);
  SetAddress("");
  world_.file.hostname = "devbox";
  world_.Save();
  const Seen apply = Apply(*machine_);
  EXPECT_FALSE(apply.outcome.failed) << apply.outcome.error;
  EXPECT_THAT(apply.progress, Not(Contains(kWaiting)));
}

}  // namespace
}  // namespace rum
