#include "agent-api/guest/unfinished_drives.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "agent-api/guest/ledger.h"
#include "tests/agent-api/guest/folder.h"

namespace rum::guest {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(UnfinishedDrives, AreThoseOfAnEarlierBootAlone) {
  const Folder folder;
  const std::string path = folder / "state/making";
  UnfinishedDrives drives(path);
  EXPECT_THAT(drives.OfEarlierBoots(), IsEmpty());
  ASSERT_TRUE(drives.Note({"rum-a", "rum-b"}).ok());
  EXPECT_THAT(UnfinishedDrives(path).OfEarlierBoots(), IsEmpty()) << "its maker may be at work";
  Spill(path, "another-boot rum-a\n" + BootId() + " rum-b\nanother-boot rum-c\n");
  EXPECT_THAT(drives.OfEarlierBoots(), ElementsAre("rum-a", "rum-c"));
  ASSERT_TRUE(drives.Forget({"rum-a"}).ok());
  EXPECT_THAT(drives.OfEarlierBoots(), ElementsAre("rum-c"));
  ASSERT_TRUE(drives.Note({"rum-c"}).ok());
  EXPECT_THAT(drives.OfEarlierBoots(), IsEmpty()) << "begun again in this boot";
}

TEST(UnfinishedDrives, ForgettingWhatWasNeverNotedWritesNothing) {
  const Folder folder;
  EXPECT_TRUE(UnfinishedDrives(folder / "making").Forget({"rum-a"}).ok());
  EXPECT_FALSE(std::filesystem::exists(folder / "making"));
}

TEST(UnfinishedDrives, WhatCannotBeNotedIsAnError) {
  const Folder folder;
  Spill(folder / "file", "");
  EXPECT_FALSE(UnfinishedDrives(folder / "file/making").Note({"rum-a"}).ok());
}

}  // namespace
}  // namespace rum::guest
