// The manual, docs/reference.md and the examples: what the program says of itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <utility>

#include "tests/cli/sandbox.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

class ManualTest : public testing::Test {
 protected:
  static std::string ReadRunfile(const std::string& path) {
    std::ifstream file(Folder() + path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static std::string Folder() {
    return std::string(std::getenv("TEST_SRCDIR")) + "/" + std::getenv("TEST_WORKSPACE") + "/";
  }
  std::set<std::string> Pages() {
    std::istringstream names(rum_.Rum({"manual"}).out);
    return {std::istream_iterator<std::string>(names), {}};
  }
  Result Shell(const std::string& script) {
    const std::string rum = std::exchange(rum_.program, "/bin/sh");
    rum_.env["RUM"] = rum;
    Result result = rum_.Rum({"-c", script});
    rum_.program = rum;
    return result;
  }

  Sandbox rum_;
};

TEST_F(ManualTest, EveryCommandHasAPageAndTheyAreCleanForMandocAndGroff) {
  const std::set<std::string> pages = Pages();
  for (const char* page : {"rum.1", "rum-up.1", "rum-controller.1", "rum.toml.5", "reference.md"})
    EXPECT_THAT(pages, Contains(page));
  EXPECT_THAT(pages, Not(Contains("rum-proxy.1"))) << "which is for ssh alone";
  rum_.patience = std::chrono::minutes(10);  // with some hundred programs, one after the other
  const Result written = Shell(
      "for page in $($RUM manual); do $RUM manual $page >$page || exit 1; done\n"
      "rm reference.md\n"
      "mandoc -T lint -W warning ./*.[15] || exit 1\n"
      "for page in *.[15]; do groff -man -Kutf8 -Tutf8 -ww -z $page 2>&1 || exit 1; done\n");
  EXPECT_EQ(written.exit_status, 0);
  EXPECT_EQ(written.out + written.err, "");
}

TEST_F(ManualTest, APageShowsWhatHelpShows) {
  const Result page =
      Shell("$RUM manual rum-status.1 >rum-status.1; MANWIDTH=200 man -l rum-status.1");
  EXPECT_THAT(page.out, HasSubstr("rum-status - what holds, what drifted"));
  EXPECT_THAT(page.out, HasSubstr("rum status [OPTION]..."));
  EXPECT_THAT(page.out, HasSubstr("--wait Ready|Synced|RestartRequired|"));
  EXPECT_THAT(page.out, HasSubstr("(default: 30)"));
  EXPECT_EQ(rum_.Rum({"manual", "rum-nothing.1"}).exit_status, 1);
}

TEST_F(ManualTest, TheFilesPageHasEveryFieldThatExplainHas) {
  const std::string page =
      Shell("$RUM manual rum.toml.5 | mandoc -T ascii -O width=300 | col -b").out;
  std::istringstream lines(rum_.Rum({"explain"}).out);
  int fields = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line[0] == ' ') continue;
    ++fields;
    EXPECT_THAT(page, HasSubstr(line.substr(0, line.find(' '))));
  }
  EXPECT_GT(fields, 40);
}

TEST_F(ManualTest, TheReferenceIsFresh) {
  EXPECT_EQ(rum_.Rum({"manual", "reference.md"}).out, ReadRunfile("docs/reference.md"))
      << "bazel-bin/cli/rum manual reference.md >docs/reference.md";
}

TEST_F(ManualTest, TheExamplesAreValid) {
  int examples = 0;
  for (const auto& entry : fs::directory_iterator(Folder() + "docs/examples")) {
    const std::string name = entry.path().filename();
    rum_.Write(name, ReadRunfile("docs/examples/" + name));
    const Result check = rum_.Rum({"check", name});
    EXPECT_EQ(check.exit_status, 0) << check.err;
    EXPECT_EQ(check.out, name + ": ok\n");
    ++examples;
  }
  EXPECT_GE(examples, 3);
}

}  // namespace
}  // namespace rum
