// Copies that break off and are resumed.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "agent-api/files/destination.h"
#include "agent-api/files/tree_reader.h"
#include "agent-api/files/tree_writer.h"
#include "tests/agent-api/files/trees.h"
#include "tests/agent-api/guest/folder.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class ResumeTest : public testing::Test {
 protected:
  TreeWriter::OnProblem OnProblem() {
    return [this](const std::string& path, const std::string& text) {
      problems_.push_back(path + ": " + text);
    };
  }
  std::string Target() const { return folder_ / "target"; }

  const Folder folder_;
  std::vector<std::string> problems_;
};

// A copy that is resumed, and ends after `most` messages. The bytes of files that were sent.
size_t Resume(const std::string& source, const std::string& target, size_t most,
              const TreeWriter::OnProblem& on_problem = NoProblem) {
  auto destination = FindDestination(target, "", false);
  RC_ASSERT(destination.ok());
  TreeWriter writer(*std::move(destination), {.resume = true}, on_problem);
  size_t messages = 0;
  size_t bytes = 0;
  const absl::Status told = TellTree(
      source,
      [&](const agent::CopyMessage& message) {
        if (messages++ == most) return false;
        bytes += message.data().size();
        return writer.Take(message).ok();
      },
      [&](const agent::CopyOffer& offer, agent::CopyHave* have) {
        *have = writer.Answer(offer);
        return true;
      });
  RC_ASSERT(told.ok() || (absl::IsCancelled(told) && messages > most));
  return bytes;
}

TEST_F(ResumeTest, AnyCopyThatBreaksOffAnywhereIsResumedWithoutSendingAByteTwice) {
  EXPECT_TRUE(rc::check("cp --resume TREE TARGET", [] {
    const Folder folder;
    const std::string tree = folder / "tree";
    const std::string copy = folder / "copy";
    MakeAnyTree(tree);
    if (*rc::gen::arbitrary<bool>()) Write(tree + "/large", std::string(200000, 'x'));
    size_t sent = 0;
    for (const size_t most : *rc::gen::container<std::vector<size_t>>(rc::gen::inRange(0, 20)))
      sent += Resume(tree, copy, most);
    sent += Resume(tree, copy, SIZE_MAX);
    RC_ASSERT(Describe(copy) == Describe(tree));
    size_t all = 0;
    for (const auto& entry : fs::recursive_directory_iterator(tree))
      all += !entry.is_symlink() && entry.is_regular_file() ? entry.file_size() : 0;
    RC_ASSERT(sent == all);
    RC_ASSERT(Resume(tree, copy, SIZE_MAX) == 0u);
    RC_ASSERT(Describe(copy) == Describe(tree));
  }));
}

std::string PartIn(const std::string& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename().string().rfind(".rum-cp-", 0) == 0) return entry.path();
  }
  return "";
}

TEST_F(ResumeTest, AFileThatChangedSinceItBrokeOffIsCopiedFromItsBeginning) {
  Write(folder_ / "file", std::string(200000, 'a'));
  EXPECT_EQ(Resume(folder_ / "file", Target(), 2), 65536u);
  EXPECT_EQ(fs::file_size(PartIn(folder_.path())), 65536u);
  EXPECT_FALSE(fs::exists(Target())) << "it takes its place only when it is whole";
  Write(folder_ / "file", std::string(200000, 'b'));
  const timespec times[2] = {{1, 2}, {3, 4}};
  utimensat(AT_FDCWD, (folder_ / "file").c_str(), times, 0);
  EXPECT_EQ(Resume(folder_ / "file", Target(), SIZE_MAX), 200000u);
  EXPECT_EQ(Read(Target()), std::string(200000, 'b'));
  EXPECT_EQ(PartIn(folder_.path()), "");
}

TEST_F(ResumeTest, APartWhoseWriterWasKilledInAWriteIsNotGoneOnWith) {
  Write(folder_ / "file", std::string(200000, 'a'));
  EXPECT_EQ(Resume(folder_ / "file", Target(), 2), 65536u);
  Write(PartIn(folder_.path()), "torn");  // and has the time of now
  EXPECT_EQ(Resume(folder_ / "file", Target(), SIZE_MAX), 200000u);
  EXPECT_EQ(Read(Target()), std::string(200000, 'a'));
}

TEST_F(ResumeTest, AFileThatDiffersInTimeSizeOrModeIsCopiedAgain) {
  const auto set_time = [](const std::string& path, long ns) {
    const timespec times[2] = {{1, ns}, {1234567890, ns}};
    utimensat(AT_FDCWD, path.c_str(), times, 0);
  };
  Write(folder_ / "file", "new");
  set_time(folder_ / "file", 7);
  const auto sent = [&] { return Resume(folder_ / "file", Target(), SIZE_MAX); };
  EXPECT_EQ(sent(), 3u);
  EXPECT_EQ(sent(), 0u);
  Write(Target(), "odd"), set_time(Target(), 8);
  EXPECT_EQ(sent(), 3u);
  Write(Target(), "longer"), set_time(Target(), 7);
  EXPECT_EQ(sent(), 3u);
  chmod(Target().c_str(), 0600);
  EXPECT_EQ(sent(), 3u);
  EXPECT_EQ(sent(), 0u);
  EXPECT_EQ(Describe(Target()), Describe(folder_ / "file"));
}

TEST_F(ResumeTest, AFileThatChangesAfterItWasOfferedIsTold) {
  Write(folder_ / "file", "old");
  EXPECT_EQ(Resume(folder_ / "file", Target(), SIZE_MAX), 3u);
  TreeWriter writer(*FindDestination(Target(), "", false), {.resume = true}, OnProblem());
  EXPECT_TRUE(TellTree(
                  folder_ / "file",
                  [&](const agent::CopyMessage& message) { return writer.Take(message).ok(); },
                  [&](const agent::CopyOffer& offer, agent::CopyHave* have) {
                    *have = writer.Answer(offer);
                    EXPECT_TRUE(have->items(0).there());
                    Write(folder_ / "file", "newer");
                    return true;
                  })
                  .ok());
  EXPECT_EQ(Read(Target()), "newer");
}

TEST_F(ResumeTest, TwoCopiesDoNotWriteOnePart) {
  Write(folder_ / "file", std::string(200000, 'a'));
  TreeWriter writer(*FindDestination(Target(), "", false), {.resume = true}, OnProblem());
  ASSERT_TRUE(writer.Take(Item(agent::CopyItem::FILE, "f")).ok());
  ASSERT_TRUE(writer.Take(Data("half")).ok());
  Resume(folder_ / "file", Target(), SIZE_MAX, OnProblem());
  EXPECT_THAT(problems_, ElementsAre(HasSubstr("/target: another copy is making it")));
  ASSERT_TRUE(writer.Take(End()).ok());
  EXPECT_EQ(Read(Target()), "half");
}

// One that is not resumed.
void CopyAnew(const std::string& source, const std::string& target) {
  TreeWriter writer(*FindDestination(target, "", false), {},
                    [](const auto&, const auto& text) { ADD_FAILURE() << text; });
  ASSERT_TRUE(TellTree(source, [&](const agent::CopyMessage& message) {
                return writer.Take(message).ok();
              }).ok());
}

TEST_F(ResumeTest, ACopyThatDoesNotResumeTakesAwayWhatAnEarlierOneLeft) {
  Write(folder_ / "file", std::string(200000, 'a'));
  Resume(folder_ / "file", Target(), 2);
  const std::string part = PartIn(folder_.path());
  CopyAnew(folder_ / "file", Target());
  EXPECT_FALSE(fs::exists(part));
  // Not from one that is under way, nor what is not ours.
  TreeWriter writer(*FindDestination(Target(), "", false), {.resume = true}, OnProblem());
  ASSERT_TRUE(writer.Take(Item(agent::CopyItem::FILE, "f")).ok());
  CopyAnew(folder_ / "file", Target());
  EXPECT_TRUE(fs::exists(part));
  ASSERT_TRUE(writer.Take(End()).ok());
  fs::create_symlink(folder_ / "file", part);
  CopyAnew(folder_ / "file", Target());
  EXPECT_TRUE(fs::is_symlink(part));
  EXPECT_THAT(problems_, ElementsAre());
}

TEST_F(ResumeTest, APartThatSomebodyElseCouldHaveMadeIsNotWrittenTo) {
  Write(folder_ / "file", std::string(200000, 'a'));
  Resume(folder_ / "file", Target(), 2);
  const std::string part = PartIn(folder_.path());
  fs::create_hard_link(part, folder_ / "another");
  Resume(folder_ / "file", Target(), SIZE_MAX, OnProblem());
  EXPECT_EQ(fs::file_size(folder_ / "another"), 65536u);
  fs::remove(part);
  fs::create_symlink(folder_ / "another", part);
  Resume(folder_ / "file", Target(), SIZE_MAX, OnProblem());
  EXPECT_EQ(fs::file_size(folder_ / "another"), 65536u);
  EXPECT_EQ(problems_.size(), 2u);
  EXPECT_FALSE(fs::exists(Target()));
}

}  // namespace
}  // namespace rum
