// Trees told and made again: what comes out is what went in, and never outside of its destination.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
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
using testing::IsEmpty;
using Problems = std::vector<std::string>;

constexpr char kOddName[] = " a'b\"c\n$(d)\\ \xFF*";

class TreeTest : public testing::Test {
 protected:
  // cp SOURCE TARGET.
  absl::Status Copy(const std::string& source, const std::string& target,
                    bool must_be_folder = false) {
    auto destination = FindDestination(target, LastName(source), must_be_folder);
    if (!destination.ok()) return destination.status();
    TreeWriter writer(*std::move(destination), {.give_away = give_away_}, OnProblem());
    absl::Status taken;
    const absl::Status told = TellTree(source, [&](const agent::CopyMessage& message) {
      if (message.has_problem()) {
        problems_.push_back(message.problem().path() + ": " + message.problem().text());
      } else {
        taken = writer.Take(message);
      }
      return taken.ok();
    });
    if (!taken.ok()) return taken;
    if (told.ok()) EXPECT_TRUE(writer.whole());
    return told;
  }
  TreeWriter::OnProblem OnProblem() {
    return [this](const std::string& path, const std::string& text) {
      problems_.push_back(path + ": " + text);
    };
  }
  std::string Target() const { return folder_ / "target"; }

  const Folder folder_;
  Problems problems_;
  bool give_away_ = false;
};

TEST_F(TreeTest, ATreeArrivesWithNamesModesTimesAndLinks) {
  const std::string tree = folder_ / "tree";
  fs::create_directories(tree + "/" + kOddName + "/deep/er");
  fs::create_directories(tree + "/empty");
  Write(tree + "/" + kOddName + "/deep/" + kOddName, std::string("\0\xFF\n", 3));
  Write(tree + "/run", std::string(200000, 'x'));
  fs::create_symlink("/nowhere/at all", tree + "/dangling");
  fs::create_directory_symlink(kOddName, tree + "/link");
  chmod((tree + "/run").c_str(), 0751);
  const timespec times[2] = {{1, 2}, {1234567890, 987654321}};
  for (const char* name : {"/run", "/dangling", "/empty"})
    utimensat(AT_FDCWD, (tree + name).c_str(), times, AT_SYMLINK_NOFOLLOW);
  chmod((tree + "/empty").c_str(), 0500);
  EXPECT_TRUE(Copy(tree, Target()).ok());
  EXPECT_THAT(problems_, IsEmpty());
  EXPECT_EQ(Describe(Target()), Describe(tree));
}

TEST_F(TreeTest, AnyTreeArrivesAsItIs) {
  EXPECT_TRUE(rc::check("cp TREE TARGET", [] {
    const Folder folder;
    MakeAnyTree(folder / "tree");
    auto destination = FindDestination(folder / "copy", "", false);
    RC_ASSERT(destination.ok());
    TreeWriter writer(*std::move(destination), {}, NoProblem);
    RC_ASSERT(TellTree(folder / "tree", [&](const agent::CopyMessage& message) {
                return writer.Take(message).ok();
              }).ok());
    RC_ASSERT(Describe(folder / "copy") == Describe(folder / "tree"));
  }));
}

TEST_F(TreeTest, AFolderThatIsThereGetsTheItemUnderItsName) {
  fs::create_directories(folder_ / "tree/sub");
  Write(folder_ / "tree/sub/file", "new");
  fs::create_directories(Target());
  EXPECT_TRUE(Copy(folder_ / "tree", Target()).ok());
  EXPECT_TRUE(Copy(folder_ / "tree/sub/file", Target()).ok());
  EXPECT_EQ(Read(Target() + "/tree/sub/file"), "new");
  EXPECT_EQ(Read(Target() + "/file"), "new");
}

TEST_F(TreeTest, WithADotWhatAFolderHoldsGoesThereAndTheFolderKeepsItsMode) {
  fs::create_directories(folder_ / "tree/sub");
  Write(folder_ / "tree/file", "new");
  fs::create_directories(Target());
  Write(Target() + "/kept", "old");
  chmod(Target().c_str(), 0711);
  EXPECT_TRUE(Copy(folder_ / "tree/.", Target()).ok());
  EXPECT_EQ(Read(Target() + "/file"), "new");
  EXPECT_EQ(Read(Target() + "/kept"), "old");
  EXPECT_EQ(Info(Target()).st_mode & 0777u, 0711u);
}

TEST_F(TreeTest, WhereNothingCanGoIsSaid) {
  Write(folder_ / "file", "x");
  EXPECT_THAT(std::string(Copy(folder_ / "file", folder_ / "no/where").message()),
              HasSubstr("/no: No such file or directory"));
  EXPECT_THAT(std::string(Copy(folder_ / "file", folder_ / "no/").message()),
              HasSubstr("there is no such folder"));
  EXPECT_THAT(std::string(Copy(folder_ / "file", folder_ / "no", true).message()),
              HasSubstr("there is no such folder"));
  EXPECT_THAT(std::string(Copy(folder_ / "missing", Target()).message()),
              HasSubstr("/missing: No such file or directory"));
  EXPECT_THAT(std::string(Copy("/dev/null", Target()).message()),
              HasSubstr("neither a file nor a folder"));
}

TEST_F(TreeTest, WhatIsNoFileIsLeftOutAndTheRestGoesOn) {
  fs::create_directories(folder_ / "tree");
  ASSERT_EQ(mkfifo((folder_ / "tree/a-pipe").c_str(), 0600), 0);
  Write(folder_ / "tree/b", "there");
  EXPECT_TRUE(Copy(folder_ / "tree", Target()).ok());
  EXPECT_THAT(problems_, ElementsAre(HasSubstr("/tree/a-pipe: neither a file")));
  EXPECT_EQ(Read(Target() + "/b"), "there");
}

TEST_F(TreeTest, ALinkInTheWayOfAFolderIsNotFollowed) {
  fs::create_directories(folder_ / "tree/sub/deep");
  Write(folder_ / "tree/sub/deep/file", "evil");
  Write(folder_ / "tree/sub/file", "evil");
  Write(folder_ / "tree/z", "rest");
  fs::create_directories(Target());
  fs::create_directories(folder_ / "elsewhere");
  fs::create_directory_symlink(folder_ / "elsewhere", Target() + "/sub");
  EXPECT_TRUE(Copy(folder_ / "tree/.", Target()).ok());
  EXPECT_THAT(problems_, ElementsAre(HasSubstr("/target/sub: in the way of a folder")));
  EXPECT_TRUE(fs::is_empty(folder_ / "elsewhere"));
  EXPECT_EQ(Read(Target() + "/z"), "rest");
}

// A guest that was taken over may send anything.
TEST_F(TreeTest, NamesThatLeaveTheDestinationAreRefused) {
  for (const std::string& name :
       {std::string("../evil"), std::string(".."), std::string("."), std::string("/etc/passwd"),
        std::string(""), std::string("a/b"), std::string("a\0b", 3)}) {
    fs::remove_all(Target());
    TreeWriter writer(*FindDestination(Target(), "", false), {}, OnProblem());
    ASSERT_TRUE(writer.Take(Item(agent::CopyItem::FOLDER, "any/../thing")).ok());
    for (const auto kind :
         {agent::CopyItem::FILE, agent::CopyItem::FOLDER, agent::CopyItem::SYMLINK}) {
      EXPECT_EQ(writer.Take(Item(kind, name)).code(), absl::StatusCode::kInvalidArgument) << name;
    }
    EXPECT_TRUE(fs::is_empty(Target()));
  }
  // A link that is made and then entered.
  fs::remove_all(Target());
  fs::create_directories(folder_ / "elsewhere");
  TreeWriter writer(*FindDestination(Target(), "", false), {}, OnProblem());
  ASSERT_TRUE(writer.Take(Item(agent::CopyItem::FOLDER, "x")).ok());
  agent::CopyMessage link = Item(agent::CopyItem::SYMLINK, "sub");
  link.mutable_item()->set_link(folder_ / "elsewhere");
  ASSERT_TRUE(writer.Take(link).ok());
  ASSERT_TRUE(writer.Take(Item(agent::CopyItem::FOLDER, "sub")).ok());
  ASSERT_TRUE(writer.Take(Item(agent::CopyItem::FILE, "evil")).ok());
  ASSERT_TRUE(writer.Take(End()).ok());
  ASSERT_TRUE(writer.Take(End()).ok());
  EXPECT_THAT(problems_, ElementsAre(HasSubstr("in the way of a folder")));
  EXPECT_TRUE(fs::is_empty(folder_ / "elsewhere"));
}

TEST_F(TreeTest, MessagesThatMakeNoTreeAreRefused) {
  using Messages = std::vector<agent::CopyMessage>;
  const auto file = Item(agent::CopyItem::FILE, "f");
  for (const Messages& messages :
       {Messages{Data("x")}, Messages{End()}, Messages{file, file}, Messages{file, End(), file},
        Messages{file, End(), End()}, Messages{Item(agent::CopyItem::FOLDER, "d"), Data("x")},
        Messages{agent::CopyMessage()}}) {
    TreeWriter writer(*FindDestination(folder_ / "other", "", false), {}, OnProblem());
    absl::Status status;
    for (const agent::CopyMessage& message : messages) {
      if (status.ok()) status = writer.Take(message);
    }
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    fs::remove_all(folder_ / "other");
  }
}

TEST_F(TreeTest, AFileTakesItsPlaceOnlyWhenItIsWhole) {
  Write(Target(), "old");
  {
    TreeWriter writer(*FindDestination(Target(), "", false), {}, OnProblem());
    ASSERT_TRUE(writer.Take(Item(agent::CopyItem::FILE, "f")).ok());
    ASSERT_TRUE(writer.Take(Data("half")).ok());
    EXPECT_EQ(Read(Target()), "old");
  }  // broke off
  EXPECT_EQ(Read(Target()), "old");
  {
    TreeWriter writer(*FindDestination(Target(), "", false), {}, OnProblem());
    ASSERT_TRUE(writer.Take(Item(agent::CopyItem::FILE, "f")).ok());
    ASSERT_TRUE(writer.Take(Data("half")).ok());
    ASSERT_TRUE(writer.Take(End(false)).ok());  // could not be read
  }
  EXPECT_EQ(Read(Target()), "old");
  const auto entries = fs::directory_iterator(folder_.path());
  EXPECT_EQ(std::distance(begin(entries), end(entries)), 1) << "nothing else is left";
}

TEST_F(TreeTest, AFolderOrADeviceIsNotReplacedByAFile) {
  Write(folder_ / "file", "x");
  fs::create_directories(Target() + "/file");
  EXPECT_TRUE(Copy(folder_ / "file", Target()).ok());
  ASSERT_EQ(mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  EXPECT_TRUE(Copy(folder_ / "file", folder_ / "pipe").ok());
  EXPECT_THAT(problems_, ElementsAre(HasSubstr("/target/file: a folder is in its place"),
                                     HasSubstr("/pipe: a device or pipe is in its place")));
  EXPECT_TRUE(fs::is_fifo(folder_ / "pipe"));
}

TEST_F(TreeTest, ASetUserIdBitDoesNotTravel) {
  Write(folder_ / "file", "x");
  chmod((folder_ / "file").c_str(), 06755);
  EXPECT_TRUE(Copy(folder_ / "file", Target()).ok());
  EXPECT_EQ(Info(Target()).st_mode & 07777u, 0755u);
}

TEST_F(TreeTest, WhatIsGivenAwayBelongsToTheFoldersOwnerOrToThatOfTheFileBefore) {
  ASSERT_EQ(geteuid(), 0u) << "only root can give files away";
  give_away_ = true;
  fs::create_directories(folder_ / "tree/sub");
  Write(folder_ / "tree/sub/file", "x");
  Write(folder_ / "tree/kept", "x");
  fs::create_symlink("x", folder_ / "tree/link");
  fs::create_directories(Target());
  Write(Target() + "/kept", "old");
  ASSERT_EQ(chown((Target() + "/kept").c_str(), 3, 4), 0);
  ASSERT_EQ(chown(Target().c_str(), 1, 2), 0);
  EXPECT_TRUE(Copy(folder_ / "tree/.", Target()).ok());
  EXPECT_THAT(problems_, IsEmpty());
  for (const char* name : {"/sub", "/sub/file", "/link"}) {
    EXPECT_EQ(Info(Target() + name).st_uid, 1u) << name;
    EXPECT_EQ(Info(Target() + name).st_gid, 2u) << name;
  }
  EXPECT_EQ(Info(Target() + "/kept").st_uid, 3u);
}

TEST_F(TreeTest, AnyModeIsThatOfTheFileBefore) {
  for (const mode_t before : {0u, 0640u}) {
    if (before != 0) Write(Target(), "old"), chmod(Target().c_str(), before);
    TreeWriter writer(*FindDestination(Target(), "", false), {}, OnProblem());
    agent::CopyMessage item = Item(agent::CopyItem::FILE, "");
    item.mutable_item()->set_any_mode(true);
    ASSERT_TRUE(writer.Take(item).ok() && writer.Take(End()).ok());
    EXPECT_EQ(Info(Target()).st_mode & 0777u, before != 0 ? before : 0644u);
  }
}

TEST_F(TreeTest, WhatCannotBeMadeIsAProblemAndItsDataIsPassedOver) {
  // A file in a filesystem that cannot take any: /proc.
  auto destination = FindDestination("/proc/self", "x", false);
  ASSERT_TRUE(destination.ok());
  TreeWriter writer(*std::move(destination), {}, OnProblem());
  EXPECT_TRUE(writer.Take(Item(agent::CopyItem::FILE, "x")).ok());
  EXPECT_EQ(problems_.size(), 1u) << "refused, and its data is passed over";
  EXPECT_TRUE(writer.Take(Data("x")).ok());
  EXPECT_TRUE(writer.Take(End()).ok());
  EXPECT_TRUE(writer.whole());
}

}  // namespace
}  // namespace rum
