#include "controller/decide/restart_policy.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/controller/model.h"

namespace rum {
namespace {

constexpr int64_t kNow = 1'700'000'000'000;

class RestartPolicy : public testing::Test {
 protected:
  RestartPolicy() : model_(Converged(SampleConfig())) {
    model_.record.set_want_running(true);
    End(DomainCause::kCrashed);
  }
  void End(DomainCause cause, const char* phase = "CRASHED") {
    model_.observed.domain.running = false;
    model_.observed.domain.cause = cause;
    model_.record.set_phase(phase);
    model_.record.set_phase_since_ms(kNow);
  }
  RestartVerdict Judge(int64_t now_ms = kNow, bool controller_started = false) const {
    return JudgeRestart(model_.desired, model_.record, model_.observed.domain, controller_started,
                        now_ms);
  }
  bool Starts(bool controller_started = false) const {
    return Judge(kNow + 60'000, controller_started).what == RestartVerdict::kStart;
  }

  Model model_;
};

TEST_F(RestartPolicy, StartsACrashedMachineFiveTimesEachAfterALongerPause) {
  int64_t now = kNow;
  for (uint32_t number = 1; number <= 5; ++number) {
    const int64_t pause = 1000 << (number - 1);
    const RestartVerdict wait = Judge(now + pause - 1);
    EXPECT_EQ(wait.what, RestartVerdict::kWait);
    EXPECT_EQ(wait.due_ms, now + pause);
    const RestartVerdict start = Judge(now + pause);
    ASSERT_EQ(start.what, RestartVerdict::kStart);
    EXPECT_EQ(start.number, number);
    now += pause;
    NoteRestart(start, now, &model_.record);
    now += 10'000;  // it ran for ten seconds
    model_.record.set_phase_since_ms(now);
  }
  EXPECT_EQ(Judge(now + 3'600'000).what, RestartVerdict::kGivenUp);
  EXPECT_TRUE(ForgetRestarts(&model_.record));
  EXPECT_EQ(Judge(now + 1000).number, 1u);
}

TEST_F(RestartPolicy, AClockThatWasSetBackHoldsNoStartUp) {
  EXPECT_EQ(Judge(kNow - 3'600'000).what, RestartVerdict::kStart);
  EXPECT_EQ(Judge(kNow - 500).what, RestartVerdict::kWait) << "a correction is no jump";
  EXPECT_EQ(Judge(kNow - 500).due_ms, kNow + 1000);
}

TEST_F(RestartPolicy, OneThatRanWellForAWhileBeginsAnew) {
  model_.record.set_restarts(5);
  model_.record.set_last_restart_ms(kNow - kHealthyMs + 1);
  EXPECT_EQ(Judge(kNow + 60'000).what, RestartVerdict::kGivenUp);
  model_.record.set_last_restart_ms(kNow - kHealthyMs);
  EXPECT_EQ(Judge(kNow + 60'000).number, 1u);
  EXPECT_TRUE(Starts());
}

TEST_F(RestartPolicy, AStartThatFailsIsOneOfTheSeries) {
  NoteRestart(Judge(kNow + 1000), kNow + 1000, &model_.record);
  model_.observed.domain.cause = DomainCause::kStartFailed;  // the record still has the crash
  EXPECT_EQ(Judge(kNow + 2999).what, RestartVerdict::kWait);
  EXPECT_EQ(Judge(kNow + 3000).number, 2u);
  model_.record.clear_restarts();
  EXPECT_FALSE(Starts()) << "of a first start its asker was told";
}

TEST_F(RestartPolicy, RespectsWhoeverEndedIt) {
  for (const DomainCause cause :
       {DomainCause::kNone, DomainCause::kShutDown, DomainCause::kDestroyed, DomainCause::kSaved,
        DomainCause::kSavedToFile, DomainCause::kMigrated, DomainCause::kFromSnapshot}) {
    End(cause, "STOPPED");
    EXPECT_FALSE(Starts()) << static_cast<int>(cause);
    EXPECT_FALSE(Starts(true)) << static_cast<int>(cause);
  }
}

TEST_F(RestartPolicy, AlwaysStartsAfterEveryEndingButWhatSomebodyPutAside) {
  model_.desired.mutable_reconcile()->set_restart("always");
  EXPECT_TRUE(Starts());
  for (const DomainCause cause :
       {DomainCause::kNone, DomainCause::kShutDown, DomainCause::kDestroyed}) {
    End(cause, "STOPPED");
    EXPECT_TRUE(Starts()) << static_cast<int>(cause);
  }
  End(DomainCause::kMigrated, "STOPPED");
  EXPECT_FALSE(Starts());
  End(DomainCause::kSaved, "SAVED");
  EXPECT_FALSE(Starts());
  EXPECT_TRUE(Starts(true)) << "as the host's shutdown does";
}

TEST_F(RestartPolicy, APanickedGuestThatIsStillThereIsStartedAnewAndAPausedOneIsNot) {
  model_.observed.domain.running = true;
  model_.observed.domain.cause = DomainCause::kPanicked;
  model_.record.set_phase("PANICKED");
  EXPECT_TRUE(Starts());
  model_.observed.domain.cause = DomainCause::kPausedByUser;
  model_.record.set_phase("PAUSED");
  model_.desired.mutable_reconcile()->set_restart("always");
  EXPECT_FALSE(Starts());
}

TEST_F(RestartPolicy, NeverAndWhatIsNotWantedUpAreLeft) {
  model_.desired.mutable_reconcile()->set_restart("never");
  EXPECT_FALSE(Starts(true));
  model_.desired.mutable_reconcile()->clear_restart();  // of a record of an older build
  EXPECT_TRUE(Starts());
  model_.observed.domain.defined = false;
  EXPECT_FALSE(Starts());
  model_.observed.domain.defined = true;
  model_.record.set_want_running(false);
  EXPECT_FALSE(Starts());
}

// Whatever the clock does between what is recorded and now, and whatever it was when it was
// recorded: nothing waits longer than twice the longest pause, and a series has its end.
TEST_F(RestartPolicy, AClockThatJumpsHoldsNothingUpAndStartsNothingTwice) {
  constexpr int64_t kDay = 24 * 3600 * 1000;
  constexpr int64_t kTimes[] = {1000, kNow - kDay, kNow - 1000, kNow, kNow + 1000, kNow + kDay};
  for (const int64_t ended : kTimes) {
    for (const int64_t restarted : kTimes) {
      for (const int64_t now : kTimes) {
        for (uint32_t restarts = 0; restarts <= kMostRestarts; ++restarts) {
          model_.record.set_phase_since_ms(ended);
          model_.record.set_restarts(restarts);
          model_.record.set_last_restart_ms(restarts == 0 ? 0 : restarted);
          const RestartVerdict verdict = Judge(now);
          ASSERT_NE(verdict.what, RestartVerdict::kNothing);
          EXPECT_LE(verdict.number, restarts + 1);
          if (verdict.what == RestartVerdict::kGivenUp) continue;
          EXPECT_LE(verdict.due_ms - now, 2 * kLongestPauseMs) << ended << " " << restarted;
          EXPECT_EQ(Judge(std::max(now, verdict.due_ms)).what, RestartVerdict::kStart);
          MachineRecord record = model_.record;
          NoteRestart(verdict, now, &record);
          EXPECT_EQ(record.restarts(), verdict.number);
          const RestartVerdict next =
              JudgeRestart(model_.desired, record, model_.observed.domain, false, now);
          EXPECT_NE(next.what, RestartVerdict::kStart) << "twice at one moment";
        }
      }
    }
  }
}

}  // namespace
}  // namespace rum
