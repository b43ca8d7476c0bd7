#include "cli/progress_text.h"

#include <gtest/gtest.h>

namespace rum {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1000);

TEST(ProgressText, IsALineEveryFiveSecondsInAPipe) {
  ProgressText progress(false);
  EXPECT_EQ(progress.Next("downloading a: 1 %", kStart), "  ... downloading a: 1 %\n");
  EXPECT_EQ(progress.Next("downloading a: 2 %", kStart + absl::Seconds(4)), "");
  EXPECT_EQ(progress.Next("downloading a: 3 %", kStart + absl::Seconds(5)),
            "  ... downloading a: 3 %\n");
  EXPECT_EQ(progress.Next("starting the machine", kStart + absl::Seconds(5)),
            "  ... starting the machine\n");
}

TEST(ProgressText, WithoutAnythingInCommonEachIsSaid) {
  ProgressText progress(false);
  EXPECT_EQ(progress.Next("waiting", kStart), "  ... waiting\n");
  EXPECT_EQ(progress.Next("waiting", kStart), "  ... waiting\n");
}

}  // namespace
}  // namespace rum
