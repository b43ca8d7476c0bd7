#include "agent-api/due_work.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <thread>

namespace rum {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using Clock = DueWork::Clock;

std::atomic<int> reminded = 0;
void Remind() { ++reminded; }

// When all that was due before this has been done.
void AwaitTurn(DueWork* work) {
  std::promise<void> done;
  work->At(Clock::now(), [&] { done.set_value(); });
  done.get_future().wait();
}

TEST(DueWorkTest, IsDoneInTheOrderInWhichItIsDueAndNotBefore) {
  DueWork work(Remind);
  const auto begin = Clock::now();
  std::string order;
  std::promise<Clock::time_point> last;
  work.At(begin + milliseconds(60), [&] { order += "c", last.set_value(Clock::now()); });
  work.At(begin + milliseconds(30), [&] { order += "b"; });
  work.At(begin, [&] { order += "a"; });
  ASSERT_TRUE(work.Begin().ok());
  EXPECT_GE(last.get_future().get(), begin + milliseconds(60));
  EXPECT_EQ(order, "abc");
}

TEST(DueWorkTest, WhatIsDueSoonerThanWhatItSleepsForIsNotLate) {
  DueWork work(Remind);
  ASSERT_TRUE(work.Begin().ok());
  work.At(Clock::now() + hours(1), [] { ADD_FAILURE() << "an hour early"; });
  AwaitTurn(&work);
  AwaitTurn(&work);
}

TEST(DueWorkTest, WorkThatIsCancelledIsNotDoneAndWhatItHeldIsGone) {
  DueWork work(Remind);
  const auto held = std::make_shared<int>(0);
  const uint64_t number = work.At(Clock::now(), [held] { ADD_FAILURE(); });
  EXPECT_TRUE(work.Cancel(number));
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_FALSE(work.Cancel(number));
  ASSERT_TRUE(work.Begin().ok());
  AwaitTurn(&work);
}

TEST(DueWorkTest, WorkThatWasDoneCannotBeCancelledAndMayAskForMore) {
  DueWork work(Remind);
  ASSERT_TRUE(work.Begin().ok());
  std::promise<void> done;
  EXPECT_FALSE(work.IsWorking());
  const uint64_t number = work.At(Clock::now(), [&] {
    EXPECT_TRUE(work.IsWorking());
    work.At(Clock::now(), [&] { done.set_value(); });
  });
  done.get_future().wait();
  EXPECT_FALSE(work.Cancel(number));
}

TEST(DueWorkTest, ADeadlineThatPassedIsRemindedOfUntilItIsTakenBack) {
  DueWork work(Remind);
  ASSERT_TRUE(work.Begin().ok());
  const auto far = work.Add(Clock::now() + hours(1));
  const auto near = work.Add(Clock::now() + milliseconds(1));
  reminded = 0;
  while (reminded < 3) std::this_thread::yield();
  work.TakeBack(near);
  AwaitTurn(&work);  // a reminder that was on its way
  const int before = reminded;
  AwaitTurn(&work);
  EXPECT_EQ(reminded, before) << "the other one is due in an hour";
  work.TakeBack(far);
}

TEST(DueWorkTest, EndsWithoutWhatIsNotDue) {
  DueWork work(Remind);
  ASSERT_TRUE(work.Begin().ok());
  work.At(Clock::now() + hours(1), [] { ADD_FAILURE(); });
  work.Add(Clock::now() + hours(1));
}

}  // namespace
}  // namespace rum
