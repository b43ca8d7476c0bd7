#include "controller/fleet/run_loop.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "agent-api/steady_now.h"
#include "tests/eventually.h"

namespace rum {
namespace {

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

TEST(RunLoop, StuckKeysInAnyNumberUpToTheLimitDelayNoOther) {
  RunLoopOptions options;
  options.most_workers = 24;
  options.stuck_after = absl::Milliseconds(5);
  options.surplus_lingers = absl::Milliseconds(5);
  absl::Notification leave;
  std::atomic<int> stuck = 0, others = 0;
  RunLoop loop(
      [&](const std::string& key) {
        if (key[0] == 's') {
          ++stuck;
          leave.WaitForNotification();
        } else {
          ++others;
        }
        return absl::OkStatus();
      },
      options);
  for (int i = 0; i < 20; ++i) loop.Wake("s" + std::to_string(i));
  ASSERT_TRUE(Eventually([&] { return stuck == 20; }));
  EXPECT_TRUE(Eventually([&] { return loop.Stats().stuck == 20; }));
  for (int i = 0; i < 20; ++i) loop.Wake(std::to_string(i));
  EXPECT_TRUE(Eventually([&] { return others == 20; }));
  // More than there may be threads: the limit holds, and is seen.
  for (int i = 20; i < 40; ++i) loop.Wake("s" + std::to_string(i));
  EXPECT_TRUE(Eventually([&] { return loop.Stats().stuck == 24; }));
  EXPECT_EQ(loop.Stats().workers, 24);
  EXPECT_EQ(loop.Stats().queued, 16);
  EXPECT_GT(loop.Stats().longest_run, absl::Milliseconds(5));
  leave.Notify();
  EXPECT_TRUE(Eventually([&] { return stuck == 40 && loop.Stats().workers == options.workers; }));
}

TEST(RunLoop, RunsThatAreQuickNeedNoMoreWorkers) {
  RunLoopOptions options;
  options.stuck_after = absl::Minutes(10);  // as long as a busy machine may take for a quick one
  std::atomic<int> runs = 0, inside = 0, most = 0;
  RunLoop loop(
      [&](const std::string&) {
        const int now = ++inside;
        for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
        }
        absl::SleepFor(absl::Microseconds(100));
        --inside;
        ++runs;
        return absl::OkStatus();
      },
      options);
  for (int i = 0; i < 2000; ++i) loop.Wake(std::to_string(i));
  EXPECT_TRUE(Eventually([&] { return runs == 2000; }));
  EXPECT_LE(most, options.workers);
}

TEST(RunLoop, WhatSomebodyWaitsForGoesAheadOfAllOthers) {
  RunLoopOptions options;
  options.workers = options.most_workers = 1;
  absl::Notification entered, leave;
  std::mutex mutex;
  std::vector<std::string> order;
  RunLoop loop(
      [&](const std::string& key) {
        if (key == "gate") {
          entered.Notify();
          leave.WaitForNotification();
        }
        std::lock_guard<std::mutex> lock(mutex);
        order.push_back(key);
        return absl::OkStatus();
      },
      options);
  loop.Wake("gate");
  entered.WaitForNotification();
  for (const char* key : {"a", "b", "c"}) loop.Wake(key);
  loop.WakeFirst("new");
  loop.WakeFirst("c");
  leave.Notify();
  ASSERT_TRUE(Eventually([&] {
    std::lock_guard<std::mutex> lock(mutex);
    return order.size() == 5;
  }));
  EXPECT_EQ(order, (std::vector<std::string>{"gate", "c", "new", "a", "b"}));
}

TEST(RunLoop, ANewFileUndoesTheBackOff) {
  RunLoopOptions options;
  options.first_backoff = options.longest_backoff = absl::Minutes(10);
  std::atomic<int> runs = 0;
  RunLoop loop(
      [&](const std::string&) {
        return ++runs == 1 ? absl::UnavailableError("away") : absl::OkStatus();
      },
      options);
  loop.Wake("a");
  ASSERT_TRUE(Eventually([&] { return loop.Stats().retrying == 1; }));
  loop.WakeFirst("a");
  EXPECT_TRUE(Eventually([&] { return runs == 2 && loop.Stats().retrying == 0; }));
}

TEST(RunLoop, WhatHasEndedWellIsNotWokenByWhoDidItsWork) {
  std::atomic<bool> away = true;
  std::atomic<int> runs = 0;
  RunLoop loop([&](const std::string&) {
    ++runs;
    return away ? absl::InvalidArgumentError("bad") : absl::OkStatus();
  });
  for (int run = 1; run <= 2; ++run) {  // a key that never ran, and one whose run ended badly
    loop.WakeUnlessSettled("a");
    ASSERT_TRUE(Eventually([&] { return runs == run && loop.Stats().busy == 0; }));
    away = false;
  }
  loop.WakeUnlessSettled("a");
  EXPECT_EQ(loop.Stats().queued + loop.Stats().busy, 0);
  loop.Wake("a");
  ASSERT_TRUE(Eventually([&] { return runs == 3; }));
}

TEST(RunLoop, ARunMayAskForItsNextTime) {
  std::atomic<int> runs = 0;
  RunLoop loop([&](const std::string&) -> RunEnd {
    ++runs;
    return {absl::OkStatus(), absl::Milliseconds(5)};
  });
  loop.Wake("a");
  EXPECT_TRUE(Eventually([&] { return runs >= 3; }));
}

// Every wake-up is followed by a run that began after it, whatever else happens.
TEST(RunLoop, NoWakeIsLostAmongManyKeysAndThreads) {
  constexpr int kKeys = 500;
  struct Seen {
    std::atomic<int> asked = 0, done = 0, inside = 0;
  };
  std::vector<Seen> keys(kKeys);
  std::atomic<bool> overlapped = false;
  RunLoopOptions options;
  options.first_backoff = absl::Milliseconds(1);
  options.stuck_after = absl::Milliseconds(2);
  options.surplus_lingers = absl::Milliseconds(3);
  RunLoop loop(
      [&](const std::string& name) {
        Seen& key = keys[std::stoi(name)];
        if (++key.inside > 1) overlapped = true;
        const int asked = key.asked;
        if (asked % 7 == 0) absl::SleepFor(absl::Milliseconds(3));
        key.done = asked;
        --key.inside;
        return asked % 5 == 0 ? absl::AbortedError("again") : absl::OkStatus();
      },
      options);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::minstd_rand random(t + 1);
      for (int i = 0; i < 5000; ++i) {
        const int key = static_cast<int>(random() % kKeys);
        ++keys[key].asked;
        random() % 8 == 0 ? loop.WakeFirst(std::to_string(key)) : loop.Wake(std::to_string(key));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(Eventually([&] {
    return std::all_of(keys.begin(), keys.end(),
                       [](const Seen& key) { return key.done == key.asked; });
  }));
  EXPECT_FALSE(overlapped);
}

TEST(RunLoop, BacksOffMoreAndMoreAndTriesAgain) {
  RunLoopOptions options;
  options.first_backoff = absl::Milliseconds(5);
  std::mutex mutex;
  std::vector<absl::Time> times, told;
  options.on_retry = [&](const std::string& key, absl::Time at) {
    EXPECT_EQ(key, "a");
    std::lock_guard<std::mutex> lock(mutex);
    told.push_back(at);
  };
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
  ASSERT_EQ(told.size(), 4u);
  for (int i = 1; i < 5; ++i) {
    EXPECT_GE(times[i] - times[i - 1], absl::Milliseconds(5) * (1 << (i - 1)));
    EXPECT_GE(times[i], told[i - 1]);
  }
}

TEST(RunLoop, AStreamOfWakesDoesNotUndoTheBackOff) {
  RunLoopOptions options;
  options.first_backoff = absl::Milliseconds(50);
  std::vector<absl::Time> times;
  std::atomic<int> runs = 0;
  RunLoop loop(
      [&](const std::string&) {
        times.push_back(SteadyNow());
        ++runs;
        return absl::UnavailableError("away");
      },
      options);
  while (runs < 3) loop.Wake("a");
  loop.Stop();
  EXPECT_GE(times[1] - times[0], absl::Milliseconds(50));
  EXPECT_GE(times[2] - times[1], absl::Milliseconds(100));
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
  ASSERT_TRUE(Eventually([&] { return runs == 1 && loop.Stats().busy == 0; }));
  EXPECT_EQ(loop.Stats().retrying, 0);
  EXPECT_EQ(loop.Stats().queued, 0);
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
  EXPECT_TRUE(Eventually([&] { return loop.Stats().busy == 0; }));
  EXPECT_EQ(loop.Stats().keys, 0) << "nothing is left that could be run";
}

}  // namespace
}  // namespace rum
