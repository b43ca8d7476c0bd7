#include "controller/run_loop.h"

#include <gtest/gtest.h>

#include <atomic>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"

namespace rum {
namespace {

bool Eventually(const std::function<bool()>& holds) {
  const absl::Time deadline = absl::Now() + absl::Seconds(20);
  while (absl::Now() < deadline) {
    if (holds()) return true;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return false;
}

TEST(RunLoop, NeverRunsAKeyTwiceAtOnce) {
  std::atomic<int> inside = 0, runs = 0;
  std::atomic<bool> overlapped = false;
  RunLoop loop([&](const std::string&) {
    if (++inside > 1) overlapped = true;
    absl::SleepFor(absl::Microseconds(200));
    --inside;
    ++runs;
    return absl::OkStatus();
  });
  while (runs < 50) loop.Wake("a");
  loop.Stop();
  EXPECT_FALSE(overlapped);
}

TEST(RunLoop, ManyWakesDuringARunAreOneRunMore) {
  absl::Notification entered, leave;
  std::atomic<int> runs = 0;
  RunLoop loop([&](const std::string&) {
    if (runs++ == 0) {
      entered.Notify();
      leave.WaitForNotification();
    }
    return absl::OkStatus();
  });
  loop.Wake("a");
  entered.WaitForNotification();
  for (int i = 0; i < 100; ++i) loop.Wake("a");
  leave.Notify();
  EXPECT_TRUE(Eventually([&] { return runs == 2; }));
  loop.Stop();
  EXPECT_EQ(runs, 2);
}

TEST(RunLoop, AStuckKeyDelaysNoOther) {
  absl::Notification leave;
  std::atomic<int> others = 0;
  RunLoop loop([&](const std::string& key) {
    if (key == "stuck") {
      leave.WaitForNotification();
    } else {
      ++others;
    }
    return absl::OkStatus();
  });
  loop.Wake("stuck");
  for (int i = 0; i < 20; ++i) loop.Wake(std::to_string(i));
  EXPECT_TRUE(Eventually([&] { return others == 20; }));
  leave.Notify();
}

TEST(RunLoop, BacksOffMoreAndMoreAndTriesAgain) {
  RunLoopOptions options;
  options.first_backoff = absl::Milliseconds(5);
  std::mutex mutex;
  std::vector<absl::Time> times;
  std::atomic<int> runs = 0;
  RunLoop loop(
      [&](const std::string&) {
        std::lock_guard<std::mutex> lock(mutex);
        times.push_back(absl::Now());
        return ++runs < 5 ? absl::UnavailableError("away") : absl::OkStatus();
      },
      options);
  loop.Wake("a");
  ASSERT_TRUE(Eventually([&] { return runs == 5; }));
  loop.Stop();
  for (int i = 1; i < 5; ++i) {
    EXPECT_GE(times[i] - times[i - 1], absl::Milliseconds(5) * (1 << (i - 1)));
  }
}

TEST(RunLoop, AStreamOfWakesDoesNotUndoTheBackOff) {
  RunLoopOptions options;
  options.first_backoff = absl::Milliseconds(50);
  std::atomic<int> runs = 0;
  RunLoop loop(
      [&](const std::string&) {
        ++runs;
        return absl::UnavailableError("away");
      },
      options);
  const absl::Time end = absl::Now() + absl::Milliseconds(120);
  while (absl::Now() < end) loop.Wake("a");
  loop.Stop();
  EXPECT_LE(runs, 4);
}

TEST(RunLoop, AnErrorThatOnlyANewFileCuresIsNotRetried) {
  RunLoopOptions options;
  options.first_backoff = absl::Milliseconds(1);
  std::atomic<int> runs = 0;
  RunLoop loop(
      [&](const std::string& key) {
        if (key == "a") {
          ++runs;
          return absl::InvalidArgumentError("bad");
        }
        return absl::OkStatus();
      },
      options);
  loop.Wake("a");
  ASSERT_TRUE(Eventually([&] { return runs == 1; }));
  absl::SleepFor(absl::Milliseconds(50));  // time in which a retry would show
  EXPECT_EQ(runs, 1);
}

TEST(RunLoop, RunsEveryKeyAgainNowAndThen) {
  RunLoopOptions options;
  options.resync = absl::Milliseconds(5);
  std::atomic<int> runs = 0;
  RunLoop loop(
      [&](const std::string&) {
        ++runs;
        return absl::OkStatus();
      },
      options);
  loop.Wake("a");
  EXPECT_TRUE(Eventually([&] { return runs >= 3; }));
  loop.Forget("a");
  EXPECT_TRUE(Eventually([&] {
    const int before = runs;
    absl::SleepFor(absl::Milliseconds(30));
    return runs == before;
  }));
}

}  // namespace
}  // namespace rum
