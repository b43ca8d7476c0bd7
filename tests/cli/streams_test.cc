// Standard streams that are closed, full, or read by nobody.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/cli/sandbox.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::StartsWith;

class StreamsTest : public testing::Test {
 protected:
  StreamsTest() {
    rum_.Write("dev.rum.toml", GoodToml());
    rum_.Write("bad.toml", "nothing");
    rum_.Write("rum.toml", GoodToml());
  }
  // `words` and where their streams go, as a shell reads them; $RUM is rum.
  Result Shell(const std::string& words) {
    const std::string rum = rum_.program;
    rum_.program = "/bin/sh";
    rum_.env["RUM"] = rum;
    Result result = rum_.Rum({"-c", words});
    rum_.program = rum;
    return result;
  }
  // All files that a controller keeps, with what they hold; but for its log.
  std::map<std::string, std::string> Kept() const {
    std::map<std::string, std::string> kept;
    for (const auto& file : fs::recursive_directory_iterator(rum_.state())) {
      if (!file.is_regular_file() || file.path().filename() == "controller.log") continue;
      std::ifstream bytes(file.path(), std::ios::binary);
      kept[file.path()] = {std::istreambuf_iterator<char>(bytes), {}};
    }
    return kept;
  }

  Sandbox rum_;
};

// That need no machine and say something.
constexpr const char* kTalkative[] = {
    "--help",
    "--version",
    "up --help",
    "check",
    "check rum.toml",
    "explain",
    "explain ports",
    "controller unit",
    "status",
    "status -o json",
    "down",
    "destroy",
    "destroy -o json",
    "image list -o json",
    "controller status",
    "controller status -o json",
    "controller metrics",
    "log --list -o json",
    "status --wait ConfigValid",
};

TEST_F(StreamsTest, OutputThatNobodyGetsIsAFailureThatIsSaid) {
  ASSERT_EQ(Shell("$RUM status").exit_status, 0);
  const std::map<std::string, std::string> kept = Kept();
  for (const std::string words : kTalkative) {
    const Result usual = Shell("exec $RUM " + words);
    EXPECT_EQ(usual.exit_status, 0) << words << ": " << usual.err;
    EXPECT_NE(usual.out, "") << words << ": says nothing, and shows nothing here";
    for (const std::string to : {" >/dev/full", " >&-", " <&- >&-"}) {
      const Result result = Shell("exec $RUM " + words + to);
      EXPECT_EQ(result.exit_status, 1) << words << to;
      EXPECT_THAT(result.err, HasSubstr("rum: standard output: ")) << words << to;
    }
    EXPECT_EQ(Shell("exec $RUM " + words + " >&- 2>&-").exit_status, 1) << words;
  }
  EXPECT_EQ(Kept(), kept);
  EXPECT_EQ(rum_.Controllers().size(), 1u);
}

TEST_F(StreamsTest, OtherStreamsMayBeClosed) {
  ASSERT_EQ(Shell("$RUM status").exit_status, 0);
  for (const std::string words : kTalkative) {
    const Result usual = Shell("exec $RUM " + words);
    for (const std::string closed : {" <&-", " 2>&-", " 2>/dev/full", " <&- 2>&-"}) {
      const Result result = Shell("exec $RUM " + words + closed);
      EXPECT_EQ(result.exit_status, 0) << words << closed;
      if (words.find("controller metrics") == 0 || words.find("json") != std::string::npos)
        continue;
      EXPECT_EQ(result.out, usual.out) << words << closed;
    }
  }
}

TEST_F(StreamsTest, WhatFailsAnywayFailsAsEver) {
  for (const std::string to : {"", " >/dev/full", " >&-", " >&- 2>&-", " 2>/dev/full"}) {
    EXPECT_EQ(Shell("exec $RUM check bad.toml" + to).exit_status, 1) << to;
    EXPECT_EQ(Shell("exec $RUM frobnicate" + to).exit_status, 2) << to;
  }
  EXPECT_EQ(Shell("exec $RUM -q check >/dev/full").exit_status, 0) << "it had nothing to say";
}

// `| head -1`: who reads has had enough.
TEST_F(StreamsTest, AReaderThatWentEndsItAsItEndsOthersWithoutAWord) {
  const std::string unread = "mkfifo pipe; exec 3<>pipe 4>pipe 3<&-; exec $RUM ";
  for (const std::string words : {"explain", "--help", "status", "controller unit"}) {
    fs::remove(rum_.project() + "/pipe");
    const Result result = Shell(unread + words + " >&4");
    EXPECT_EQ(result.exit_status, 141) << words;
    EXPECT_EQ(result.err, "") << words;
  }
}

TEST_F(StreamsTest, AControllerThatIsStartedWithoutStreamsIsWhole) {
  EXPECT_EQ(Shell("exec $RUM down <&- >&- 2>&-").exit_status, 1) << "it says something";
  ASSERT_EQ(rum_.Controllers().size(), 1u);
  const Result status = Shell("exec $RUM controller status");
  EXPECT_EQ(status.exit_status, 0);
  EXPECT_EQ(rum_.ControllerPid(), rum_.Controllers()[0]);
  for (const auto& [path, bytes] : Kept()) EXPECT_EQ(bytes, "") << path;
  EXPECT_EQ(Shell("exec $RUM controller stop").exit_status, 0);
}

TEST_F(StreamsTest, OneInTheForegroundNeedsNone) {
  const std::string rum = rum_.program;
  rum_.env["RUM"] = rum;
  rum_.program = "/bin/sh";
  const Running running = rum_.Start({"-c", "exec $RUM controller run <&- >&- 2>&-"});
  rum_.program = rum;
  pid_t pid = 0;
  while (pid == 0 && !IsGone(running.pid, std::chrono::milliseconds(10)))
    pid = rum_.ControllerPid();
  ASSERT_EQ(pid, running.pid);
  for (int fd = 0; fd <= 2; ++fd) {
    const std::string link = "/proc/" + std::to_string(pid) + "/fd/" + std::to_string(fd);
    EXPECT_EQ(fs::read_symlink(link), "/dev/null");
  }
  EXPECT_EQ(Shell("exec $RUM status").exit_status, 0);
  EXPECT_EQ(Shell("exec $RUM controller stop").exit_status, 0);
  EXPECT_EQ(rum_.Finish(running).exit_status, 0);
}

}  // namespace
}  // namespace rum
