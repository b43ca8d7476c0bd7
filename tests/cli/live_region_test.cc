#include "cli/live_region.h"

#include <gtest/gtest.h>

#include "tests/cli/screen.h"

namespace rum {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1000);
constexpr Style kUtf8{true, false};
constexpr TerminalSize kSize{40, 12};

class LiveRegionTest : public testing::Test {
 protected:
  void Write(const std::string& text) { screen_.Write(text); }
  std::string Seen() const { return screen_.Text(); }

  LiveRegion region_{kUtf8};
  Screen screen_{40, 12};
};

TEST_F(LiveRegionTest, AStepMovesAndTellsHowLongItHasTaken) {
  Write(region_.Step("starting the machine", kStart, kSize));
  EXPECT_EQ(Seen(), "  | starting the machine\n");
  Write(region_.Tick(kStart + absl::Milliseconds(900), kSize));
  EXPECT_EQ(Seen(), "  / starting the machine\n");
  Write(region_.Tick(kStart + absl::Seconds(72), kSize));
  EXPECT_EQ(Seen(), "  - starting the machine  1 min 12 s\n");
}

TEST_F(LiveRegionTest, WhatWasDoneTakesThePlaceOfItsStep) {
  Write(region_.Step("starting the machine", kStart, kSize));
  Write(region_.Stay("  ✓ Started the machine\n", kStart + absl::Seconds(6), kSize));
  EXPECT_EQ(Seen(), "  ✓ Started the machine  6 s\n");
  Write(region_.Step("waiting for the agent", kStart + absl::Seconds(6), kSize));
  Write(region_.Stay("  ✓ Updated port forwards\n", kStart + absl::Seconds(8), kSize));
  EXPECT_EQ(
      Seen(),
      "  ✓ Started the machine  6 s\n  ✓ Updated port forwards\n  | waiting for the agent  2 s\n");
  Write(region_.End(kStart + absl::Seconds(9), kSize));
  EXPECT_EQ(Seen(), "  ✓ Started the machine  6 s\n  ✓ Updated port forwards\n") << "it was short";
}

TEST_F(LiveRegionTest, ALongStepStaysWithItsTime) {
  Write(region_.Step("downloading a.qcow2: 1 % of 9 MiB", kStart, kSize));
  Write(region_.Step("downloading a.qcow2: 9 % of 9 MiB", kStart + absl::Seconds(3), kSize));
  EXPECT_EQ(Seen(), "  | downloading a.qcow2: 9 % of 9…  3 s\n");
  Write(region_.Step("starting the machine", kStart + absl::Seconds(24), kSize));
  EXPECT_EQ(Seen(), "  · downloading a.qcow2  24 s\n  | starting the machine\n");
}

TEST_F(LiveRegionTest, TheLastLinesOfAScriptStandBelowAndGoWithIt) {
  Write(region_.Step("running the boot script", kStart, kSize));
  Write(region_.Script("1\n2\n3\n4\n5\n6\nsev", kStart, kSize));
  Write(region_.Script("en\n\033[2J" + std::string(50, 'x'), kStart, kSize));
  EXPECT_EQ(Seen(),
            "  | running the boot script\n      4\n      5\n      6\n      seven\n      \\x1b[2J" +
                std::string(25, 'x') + "…\n");
  Write(region_.Stay("  ✓ Ran the boot script\n", kStart, kSize));
  EXPECT_EQ(Seen(), "  ✓ Ran the boot script\n");
}

TEST_F(LiveRegionTest, NothingIsTakenAwayBeforeSomethingElseIsThere) {
  Write(region_.Step("downloading a: 1 %", kStart, kSize));
  const std::string next = region_.Step("downloading a: 2 %", kStart, kSize);
  const size_t text = next.find("downloading");
  EXPECT_EQ(next.substr(0, text).find("\033[K"), std::string::npos) << "it would flicker";
  EXPECT_EQ(next.substr(0, text).find("\033[J"), std::string::npos);
}

TEST_F(LiveRegionTest, ALineNeverGoesOnToTheNextOne) {
  Write(region_.Step("waiting for somebody else's download of a.qcow2", kStart, kSize));
  EXPECT_EQ(Seen(), "  | waiting for somebody else's downlo…\n");
}

// Some terminals cut lines that do not fit any more, others go on with them in a second one.
TEST_F(LiveRegionTest, InAnotherWindowItIsDrawnRightAndWhatStaysIsNotWrittenOver) {
  using Resize = void (Screen::*)(size_t width);
  for (const Resize resize : {&Screen::Cut, &Screen::Reflow}) {
    LiveRegion region(kUtf8);
    Screen screen(40, 12);
    const auto show = [&screen](const std::string& text) { screen.Write(text); };
    show("$ rum up\n");
    show(region.Step("making the machine's disks", kStart, kSize));
    show(region.Stay("  ✓ Made the machine's disks\n", kStart, kSize));
    show(region.Step("running the boot script", kStart, kSize));
    show(region.Script("one\n" + std::string(60, 'x') + "\nthree\n", kStart, kSize));
    const bool cuts = resize == &Screen::Cut;
    const std::string above =
        cuts ? "$ rum up\n  ✓ Made the machine\n" : "$ rum up\n  ✓ Made the machine\n's disks\n";
    (screen.*resize)(20);
    show(region.Tick(kStart, {20, 12}));
    EXPECT_EQ(screen.Text(), above +
                                 "  / running the bo…\n      one\n      xxxxxxxxxxxx…\n"
                                 "      three\n");
    (screen.*resize)(40);
    show(region.Tick(kStart, kSize));
    EXPECT_EQ(screen.Text(), (cuts ? above : "$ rum up\n  ✓ Made the machine's disks\n") +
                                 "  - running the boot script\n      one\n      " +
                                 std::string(32, 'x') + "…\n      three\n");
    show(region.Stay("  ✓ Ran the boot script\n", kStart, kSize));
    show(region.End(kStart, kSize));
    EXPECT_EQ(screen.Text(), (cuts ? above : "$ rum up\n  ✓ Made the machine's disks\n") +
                                 "  ✓ Ran the boot script\n");
  }
}

TEST_F(LiveRegionTest, InALowWindowItIsLowToo) {
  constexpr TerminalSize kLow{40, 4};
  Screen low(40, 4);
  low.Write("1\n2\n3\n4\n");
  low.Write(region_.Step("running the boot script", kStart, kLow));
  low.Write(region_.Script("a\nb\nc\nd\n", kStart, kLow));
  const std::string seen = "1\n2\n3\n4\n  | running the boot script\n      c\n      d\n";
  EXPECT_EQ(low.Text(), seen);
  for (int i = 0; i < 4; ++i) low.Write(region_.Tick(kStart, kLow));
  EXPECT_EQ(low.Text(), seen) << "each time another row is scrolled away";
  low.Write(region_.End(kStart, kLow));
  EXPECT_EQ(low.Text(), "1\n2\n3\n4\n");
}

TEST_F(LiveRegionTest, TellsWhetherSomethingStandsBelowTheCursor) {
  EXPECT_FALSE(region_.shown());
  Write(region_.Step("starting the machine", kStart, kSize));
  EXPECT_TRUE(region_.shown());
  Write("\r\033[J$ ");  // as a shell writes its prompt
  EXPECT_EQ(Seen(), "$\n");
  region_.End(kStart, kSize);
  EXPECT_FALSE(region_.shown());
}

TEST(LiveRegion, IsAsciiWithoutUtf8) {
  LiveRegion region(Style{false, false});
  const std::string seen = region.Step("wäiting", kStart, kSize) + region.Tick(kStart, kSize) +
                           region.End(kStart + absl::Hours(1), kSize);
  for (const char c : seen) EXPECT_LT(static_cast<unsigned char>(c), 0x80) << seen;
}

}  // namespace
}  // namespace rum
