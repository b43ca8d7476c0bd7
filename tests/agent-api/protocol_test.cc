#include "agent-api/protocol.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "agent-api/build_id.h"

namespace rum {
namespace {

const AgentBuild kOwn = {"1.2.3", 4, 2, "ours"};

TEST(FitOf, TheOwnBuildIsLeftAlone) { EXPECT_EQ(FitOf(kOwn, kOwn), AgentFit::kSame); }

TEST(FitOf, AnOlderAgentIsReplaced) {
  EXPECT_EQ(FitOf({"1.2.3", 3, 1, "x"}, kOwn), AgentFit::kReplace);
  EXPECT_EQ(FitOf({"1.2.2", 4, 2, "x"}, kOwn), AgentFit::kReplace);
  EXPECT_EQ(FitOf({"0.9", 4, 2, "x"}, kOwn), AgentFit::kReplace);
  EXPECT_EQ(FitOf({"9.9.9", 3, 1, "x"}, kOwn), AgentFit::kReplace) << "the protocol counts first";
  EXPECT_EQ(FitOf({"1.2.3", 4, 2, ""}, kOwn), AgentFit::kReplace) << "of an unknown build";
}

TEST(FitOf, AnotherBuildOfTheSameVersionIsReplaced) {
  EXPECT_EQ(FitOf({"1.2.3", 4, 2, "another"}, kOwn), AgentFit::kReplace);
}

TEST(FitOf, ANewerAgentStaysAndIsUsedWhenItStillServesUs) {
  EXPECT_EQ(FitOf({"1.2.10", 4, 2, "x"}, kOwn), AgentFit::kUse);
  EXPECT_EQ(FitOf({"2.0", 7, 4, "x"}, kOwn), AgentFit::kUse);
  EXPECT_EQ(FitOf({"2.0", 7, 0, "x"}, kOwn), AgentFit::kUse) << "0 is 1";
  EXPECT_EQ(FitOf({"2.0", 7, 5, "x"}, kOwn), AgentFit::kRefuse);
}

TEST(FitOf, TheFirstProtocolHasNoUpgradeAndIsUsedAsItIs) {
  EXPECT_EQ(FitOf({"0.1.0", 1, 0, ""}, kOwn), AgentFit::kUse);
  EXPECT_EQ(FitOf({"", 0, 0, ""}, kOwn), AgentFit::kRefuse) << "no agent of ours";
}

TEST(FitOf, WithoutAnAgentOfItsOwnAHostUsesWhatIsThere) {
  const AgentBuild none = {"1.2.3", 4, 2, ""};
  EXPECT_EQ(FitOf({"1.2.2", 3, 1, "x"}, none), AgentFit::kUse);
  EXPECT_EQ(FitOf({"9.0", 9, 9, "x"}, none), AgentFit::kRefuse);
}

TEST(BuildIdOf, IsTheOneThatTheLinkerPutIn) {
  EXPECT_EQ(BuildIdOf("/proc/self/exe").size(), 40u);
  EXPECT_EQ(BuildIdOf("/proc/self/exe"), BuildIdOf("/proc/self/exe"));
}

TEST(BuildIdOf, WhatIsNoProgramHasNone) {
  const std::string path = std::string(std::getenv("TEST_TMPDIR")) + "/file";
  for (const std::string& bytes : {std::string(), std::string("#!/bin/sh\n"),
                                   std::string("\x7F"
                                               "ELF\x02"),
                                   std::string("\x7F"
                                               "ELF\x02") +
                                       std::string(200, '\xFF')}) {
    std::ofstream(path, std::ios::binary) << bytes;
    EXPECT_EQ(BuildIdOf(path), "");
  }
  EXPECT_EQ(BuildIdOf("/no/such/file"), "");
}

}  // namespace
}  // namespace rum
