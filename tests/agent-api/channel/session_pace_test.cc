#include "agent-api/channel/session_pace.h"

#include <gtest/gtest.h>

namespace rum {
namespace {

using namespace std::chrono_literals;

class Paces : public testing::Test {
 protected:
  void Break() {
    pace_.Began();
    pace_.Ended();
  }

  Pace::Time now_{1000h};
  SessionPace pace_{[this] { return now_; }};
};

TEST_F(Paces, ABurstGoesAtOnceAndThenOneInEachInterval) {
  Pace pace(3, 100ms);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(pace.Take(now_));
  EXPECT_FALSE(pace.Take(now_));
  EXPECT_EQ(pace.Next(now_), now_ + 100ms);
  int more = 0;
  for (int i = 0; i < 1000; ++i) more += pace.Take(now_ += 10ms) ? 1 : 0;
  EXPECT_EQ(more, 100) << "10 s";
  now_ += 1h;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(pace.Take(now_));
  EXPECT_FALSE(pace.Take(now_)) << "what was not used does not add up";
}

TEST_F(Paces, SessionsThatBreakAtOnceWaitUpToAMinute) {
  for (int i = 0; i < SessionPace::kFree; ++i) {
    Break();
    EXPECT_EQ(pace_.Wait(), 0ms);
  }
  for (const auto wait : {1s, 2s, 4s, 8s, 16s, 32s, 60s, 60s}) {
    Break();
    EXPECT_EQ(pace_.Wait(), wait);
    now_ += wait;
    EXPECT_EQ(pace_.Wait(), 0ms);
  }
  for (int i = 0; i < 10000; ++i) Break();
  EXPECT_EQ(pace_.Wait(), 60s);
}

TEST_F(Paces, ASessionThatLastedMakesUpForThoseThatBroke) {
  for (int i = 0; i < 100; ++i) Break();
  now_ += 60s;
  pace_.Began();
  now_ += SessionPace::kLasted;
  pace_.Ended();
  EXPECT_EQ(pace_.Wait(), 0ms);
  Break();
  EXPECT_EQ(pace_.Wait(), 0ms);
}

TEST_F(Paces, WhatTheGuestSaysBetweenSessionsCountsAsOneThatBroke) {
  for (int i = 0; i <= SessionPace::kFree; ++i) pace_.Ended();
  EXPECT_EQ(pace_.Wait(), 1s);
}

TEST_F(Paces, ControlFramesAreFewInAllTime) {
  int taken = 0;
  for (int i = 0; i < 100'000; ++i) taken += pace_.TakeControl() ? 1 : 0;
  EXPECT_EQ(taken, SessionPace::kControlBurst);
  now_ += 1s;
  for (int i = 0; i < 100'000; ++i) taken += pace_.TakeControl() ? 1 : 0;
  EXPECT_EQ(taken, SessionPace::kControlBurst + 10);
}

}  // namespace
}  // namespace rum
