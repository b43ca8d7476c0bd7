#include "cli/live_region.h"

#include <gtest/gtest.h>

#include "tests/cli/screen.h"

namespace rum {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1000);
constexpr Style kUtf8{true, false};

class LiveRegionTest : public testing::Test {
 protected:
  void Write(const std::string& text) { screen_.Write(text); }
  std::string Seen() const { return screen_.Text(); }

  LiveRegion region_{kUtf8};
  Screen screen_{40, 12};
};

TEST_F(LiveRegionTest, AStepMovesAndTellsHowLongItHasTaken) {
  Write(region_.Step("starting the machine", kStart, 40));
  EXPECT_EQ(Seen(), "  | starting the machine\n");
  Write(region_.Tick(kStart + absl::Milliseconds(900), 40));
  EXPECT_EQ(Seen(), "  / starting the machine\n");
  Write(region_.Tick(kStart + absl::Seconds(72), 40));
  EXPECT_EQ(Seen(), "  - starting the machine  1 min 12 s\n");
}

TEST_F(LiveRegionTest, WhatWasDoneTakesThePlaceOfItsStep) {
  Write(region_.Step("starting the machine", kStart, 40));
  Write(region_.Stay("  ✓ Started the machine\n", kStart + absl::Seconds(6), 40));
  EXPECT_EQ(Seen(), "  ✓ Started the machine  6 s\n");
  Write(region_.Step("waiting for the agent", kStart + absl::Seconds(6), 40));
  Write(region_.Stay("  ✓ Updated port forwards\n", kStart + absl::Seconds(8), 40));
  EXPECT_EQ(
      Seen(),
      "  ✓ Started the machine  6 s\n  ✓ Updated port forwards\n  | waiting for the agent  2 s\n");
  Write(region_.End(kStart + absl::Seconds(9), 40));
  EXPECT_EQ(Seen(), "  ✓ Started the machine  6 s\n  ✓ Updated port forwards\n") << "it was short";
}

TEST_F(LiveRegionTest, ALongStepStaysWithItsTime) {
  Write(region_.Step("downloading a.qcow2: 1 % of 9 MiB", kStart, 40));
  Write(region_.Step("downloading a.qcow2: 9 % of 9 MiB", kStart + absl::Seconds(3), 40));
  EXPECT_EQ(Seen(), "  | downloading a.qcow2: 9 % of 9…  3 s\n");
  Write(region_.Step("starting the machine", kStart + absl::Seconds(24), 40));
  EXPECT_EQ(Seen(), "  · downloading a.qcow2  24 s\n  | starting the machine\n");
}

TEST_F(LiveRegionTest, TheLastLinesOfAScriptStandBelowAndGoWithIt) {
  Write(region_.Step("running the boot script", kStart, 40));
  Write(region_.Script("1\n2\n3\n4\n5\n6\nsev", kStart, 40));
  Write(region_.Script("en\n\033[2J" + std::string(50, 'x'), kStart, 40));
  EXPECT_EQ(Seen(),
            "  | running the boot script\n      4\n      5\n      6\n      seven\n      \\x1b[2J" +
                std::string(25, 'x') + "…\n");
  Write(region_.Stay("  ✓ Ran the boot script\n", kStart, 40));
  EXPECT_EQ(Seen(), "  ✓ Ran the boot script\n");
}

TEST_F(LiveRegionTest, NothingIsTakenAwayBeforeSomethingElseIsThere) {
  Write(region_.Step("downloading a: 1 %", kStart, 40));
  const std::string next = region_.Step("downloading a: 2 %", kStart, 40);
  const size_t text = next.find("downloading");
  EXPECT_EQ(next.substr(0, text).find("\033[K"), std::string::npos) << "it would flicker";
  EXPECT_EQ(next.substr(0, text).find("\033[J"), std::string::npos);
}

TEST_F(LiveRegionTest, ALineNeverGoesOnToTheNextOneAndANarrowerWindowIsDrawnRight) {
  Write(region_.Step("waiting for somebody else's download of a.qcow2", kStart, 40));
  EXPECT_EQ(Seen(), "  | waiting for somebody else's downlo…\n");
  // Such a window goes on with what was one line on a second one.
  Screen narrow(20, 12);
  narrow.Write("$ rum up\n  | waiting for somebody else's downlo…\n");
  narrow.Write(region_.Tick(kStart, 20));
  EXPECT_EQ(narrow.Text(), "$ rum up\n  / waiting for so…\n");
}

TEST(LiveRegion, IsAsciiWithoutUtf8) {
  LiveRegion region(Style{false, false});
  const std::string seen = region.Step("wäiting", kStart, 40) + region.Tick(kStart, 40) +
                           region.End(kStart + absl::Hours(1), 40);
  for (const char c : seen) EXPECT_LT(static_cast<unsigned char>(c), 0x80) << seen;
}

}  // namespace
}  // namespace rum
