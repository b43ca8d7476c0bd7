#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "cli/last_lines.h"
#include "cli/log_text.h"

namespace rum {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr Style kUtf8{true, false};
constexpr char kUp[] = "\033[1A\r\033[K";

TEST(LastLines, AreRedrawnWithEachPieceAndTakenAwayAtTheEnd) {
  LastLines lines(true);
  EXPECT_EQ(lines.Next("one\ntw", 80), "      one\n      tw\n");
  EXPECT_EQ(lines.Next("o\n", 80), std::string(kUp) + kUp + "      one\n      two\n");
  EXPECT_EQ(lines.Erase(), std::string(kUp) + kUp);
  EXPECT_EQ(lines.Erase(), "");
}

TEST(LastLines, AreFiveAtMostAndNeverWrap) {
  LastLines lines(true);
  const std::string shown = lines.Next("1\n2\n3\n4\n5\n6\n" + std::string(200, 'x'), 20);
  EXPECT_EQ(shown, "      3\n      4\n      5\n      6\n      " + std::string(13, 'x') + "\n");
}

TEST(LastLines, CannotMoveTheCursor) {
  LastLines lines(true);
  EXPECT_EQ(lines.Next("a\033[2Jb\rc\n", 80), "      a\\x1b[2Jb\\rc\n");
}

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

TEST(Runs, TookNoTimeThatIsNegativeWhereTheGuestsClockWasPutBack) {
  control::RunsReply runs;
  runs.add_runs()->set_started_ms(86'400'000);
  runs.mutable_runs(0)->set_ended_ms(1000);
  runs.mutable_runs(0)->set_run_id("boot-1");
  EXPECT_THAT(RenderRuns(runs, kUtf8), Not(HasSubstr(" -")));
}

}  // namespace
}  // namespace rum
