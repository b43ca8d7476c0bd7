#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "cli/log_text.h"

namespace rum {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr Style kUtf8{true, false};
TEST(TimedLines, GiveEachLineTheTimeItBegan) {
  setenv("TZ", "UTC", 1);
  TimedLines lines(kUtf8);
  EXPECT_EQ(lines.Next(1000, "on"), "");
  EXPECT_EQ(lines.Next(2000, "e\r\ntwo\nthr"), "00:00:01.000 one\n00:00:02.000 two\n");
  EXPECT_EQ(lines.End(), "00:00:02.000 thr\n");
  EXPECT_EQ(lines.End(), "");
  EXPECT_EQ(lines.Next(0, std::string("\0\xff\n", 3)), "00:00:00.000 \\x00\\xff\n");
}

TEST(Runs, SayHowTheyEnded) {
  agent::ScriptRun run;
  EXPECT_EQ(OutcomeText(run), "running");
  run.set_ended_ms(1);
  EXPECT_EQ(OutcomeText(run), "done");
  run.set_exit_status(3);
  EXPECT_EQ(OutcomeText(run), "failed with exit status 3");
  run.set_signal(9);
  EXPECT_EQ(OutcomeText(run), "failed: ended by signal 9");
  run.set_ending(agent::ScriptRun::CANCELLED);
  EXPECT_EQ(OutcomeText(run), "cancelled");
  run.set_ending(agent::ScriptRun::TIMED_OUT);
  EXPECT_EQ(OutcomeText(run), "timed out");
  run.set_ending(agent::ScriptRun::INTERRUPTED);
  EXPECT_EQ(OutcomeText(run), "interrupted");
  control::RunsReply runs;
  run.set_kind("boot\033[2J");
  run.set_run_id("boot-1");
  *runs.add_runs() = run;
  EXPECT_THAT(RenderRuns(runs, kUtf8), HasSubstr("boot\\x1b[2J  "));
  EXPECT_THAT(RenderRuns(runs, kUtf8), HasSubstr("boot-1  interrupted\n"));
}

TEST(Runs, NoneAreNoTable) { EXPECT_EQ(RenderRuns({}, kUtf8), "no runs\n"); }

TEST(Runs, TookNoTimeThatIsNegativeWhereTheGuestsClockWasPutBack) {
  control::RunsReply runs;
  runs.add_runs()->set_started_ms(86'400'000);
  runs.mutable_runs(0)->set_ended_ms(1000);
  runs.mutable_runs(0)->set_run_id("boot-1");
  EXPECT_THAT(RenderRuns(runs, kUtf8), Not(HasSubstr(" -")));
}

}  // namespace
}  // namespace rum
