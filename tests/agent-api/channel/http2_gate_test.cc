#include "agent-api/channel/http2_gate.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace rum {
namespace {

using namespace std::chrono_literals;

std::string FrameOf(unsigned type, unsigned flags, size_t size) {
  std::string frame;
  for (const int shift : {16, 8, 0}) frame.push_back(static_cast<char>(size >> shift));
  frame.push_back(static_cast<char>(type));
  frame.push_back(static_cast<char>(flags));
  frame += std::string("\0\0\0\1", 4);
  return frame + std::string(size, '\x04');
}

class Gate : public testing::Test {
 protected:
  bool Feed(const std::string& bytes) { return gate_.Feed(bytes.data(), bytes.size()); }

  Pace::Time now_{1000h};
  Http2Gate gate_{[this] { return now_; }};
};

TEST_F(Gate, WhatAnAgentSendsPassesHoweverItIsCut) {
  const std::string stream = FrameOf(4, 0, 18) + FrameOf(4, 1, 0) + FrameOf(8, 0, 4) +
                             FrameOf(1, 4, 200) + FrameOf(0, 0, 100'000) + FrameOf(1, 0, 16'000) +
                             FrameOf(9, 4, 16'000) + FrameOf(6, 1, 8);
  for (int round = 0; round < 50; ++round) {
    for (const char byte : stream) ASSERT_TRUE(gate_.Feed(&byte, 1));
  }
}

TEST_F(Gate, HeadersWithoutAnEndDoNotPass) {
  ASSERT_TRUE(Feed(FrameOf(1, 0, 16'000)));
  int more = 0;
  while (more < 1000 && Feed(FrameOf(9, 0, 16'000))) ++more;
  EXPECT_LE(more, 4);
  EXPECT_FALSE(Feed(FrameOf(0, 0, 1))) << "and nothing after them";
}

TEST_F(Gate, NorDoEmptyContinuationsWithoutEnd) {
  int passed = 0;
  while (passed < 100'000 && Feed(FrameOf(9, 0, 0))) ++passed;
  EXPECT_LT(passed, 10'000);
}

TEST_F(Gate, NorLongOnesNorPromises) {
  EXPECT_FALSE(Feed(FrameOf(1, 4, 17'000)));
  EXPECT_FALSE(Http2Gate().Feed(FrameOf(5, 4, 10).data(), 9));
}

TEST_F(Gate, QuestionsThatAreToBeAnsweredAreFew) {
  int passed = 0;
  while (passed < 1000 && Feed(FrameOf(passed % 2 == 0 ? 6 : 4, 0, 0))) ++passed;
  EXPECT_EQ(passed, Http2Gate::kAskedBurst);
}

TEST_F(Gate, AJudgeIsAskedAboutEachFrameThatPassesAndHasTheLastWord) {
  std::vector<Http2Head> seen;
  Http2Gate judged([this] { return now_; },
                   [&](const Http2Head& head) {
                     seen.push_back(head);
                     return head.type != Http2Head::kWindowUpdate;
                   });
  const std::string frames = FrameOf(1, 5, 7) + FrameOf(0, 1, 300) + FrameOf(8, 0, 4);
  EXPECT_FALSE(judged.Feed(frames.data(), frames.size()));
  ASSERT_EQ(seen.size(), 3u);
  EXPECT_EQ(seen[0].flags, 5);
  EXPECT_EQ(seen[1].type, Http2Head::kData);
  EXPECT_EQ(seen[1].size, 300u);
  EXPECT_EQ(seen[1].stream, 1u);
  const std::string push = FrameOf(5, 4, 5);
  Http2Gate other([this] { return now_; }, [](const Http2Head&) { return true; });
  EXPECT_FALSE(other.Feed(push.data(), push.size()));
}

TEST_F(Gate, ThatComeSlowlyPass) {
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(Feed(FrameOf(6, 0, 8)));
    now_ += 100ms;
  }
}

}  // namespace
}  // namespace rum
