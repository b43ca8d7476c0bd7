#include "cli/progress_text.h"

#include <gtest/gtest.h>

namespace rum {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1000);

TEST(ProgressText, AnUpdateTakesThePlaceOfTheLastOneOnATerminal) {
  ProgressText progress(true, true);
  EXPECT_EQ(progress.Next("downloading a: 1 %", kStart), "  … downloading a: 1 %\n");
  EXPECT_EQ(progress.Next("downloading a: 2 %", kStart), "\033[1A\r\033[K  … downloading a: 2 %\n");
  EXPECT_EQ(progress.Next("downloading b: 1 %", kStart), "  … downloading b: 1 %\n");
  progress.Interrupted();
  EXPECT_EQ(progress.Next("downloading b: 2 %", kStart), "  … downloading b: 2 %\n")
      << "what stands between is not erased";
}

TEST(ProgressText, IsALineEveryFiveSecondsInAPipe) {
  ProgressText progress(false, false);
  EXPECT_EQ(progress.Next("downloading a: 1 %", kStart), "  ... downloading a: 1 %\n");
  EXPECT_EQ(progress.Next("downloading a: 2 %", kStart + absl::Seconds(4)), "");
  EXPECT_EQ(progress.Next("downloading a: 3 %", kStart + absl::Seconds(5)),
            "  ... downloading a: 3 %\n");
  EXPECT_EQ(progress.Next("starting the machine", kStart + absl::Seconds(5)),
            "  ... starting the machine\n");
}

TEST(ProgressText, WithoutAnythingInCommonEachIsSaid) {
  ProgressText progress(true, false);
  EXPECT_EQ(progress.Next("waiting", kStart), "  ... waiting\n");
  EXPECT_EQ(progress.Next("waiting", kStart), "  ... waiting\n");
}

}  // namespace
}  // namespace rum
