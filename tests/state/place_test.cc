#include "state/place.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "state/identity.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

class Place : public testing::Test {
 protected:
  void SetUp() override {
    top_ = fs::canonical(testing::TempDir()) / "place";
    fs::remove_all(top_);
    fs::create_directories(top_ / "old");
    Write("old/rum.toml", "text");
    record_.set_config_path(top_ / "old/rum.toml");
    EXPECT_TRUE(NotePlace(record_.config_path(), Sha256Hex("text"), &record_));
  }
  void TearDown() override { fs::remove_all(top_); }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(top_ / name) << text;
  }
  bool MayBe(const std::string& name) { return MayHaveMovedTo(top_ / name, record_); }

  fs::path top_;
  MachineRecord record_;
};

TEST_F(Place, IsNotedOnce) {
  EXPECT_FALSE(NotePlace(record_.config_path(), Sha256Hex("text"), &record_));
  EXPECT_TRUE(NotePlace(record_.config_path(), Sha256Hex("other"), &record_));
  EXPECT_FALSE(NotePlace(record_.config_path(), "", &record_)) << "it could not be read";
  EXPECT_FALSE(NotePlace(top_ / "nowhere/rum.toml", Sha256Hex("other"), &record_));
  EXPECT_TRUE(SameFolder(record_.folder(), FolderMarkOf(top_ / "old/x.toml")));
}

TEST_F(Place, AFolderThatWasRenamedIsKnownThoughTheFileWasEdited) {
  fs::rename(top_ / "old", top_ / "new");
  Write("new/rum.toml", "edited");
  EXPECT_TRUE(IsGone(record_.config_path()));
  EXPECT_TRUE(MayBe("new/rum.toml"));
  Write("new/other.toml", "something else");
  EXPECT_FALSE(MayBe("new/other.toml")) << "another file of that folder is another machine's";
}

TEST_F(Place, SoIsOneWhoseParentWas) {
  fs::create_directories(top_ / "a/b");
  Write("a/b/rum.toml", "text");
  record_.set_config_path(top_ / "a/b/rum.toml");
  NotePlace(record_.config_path(), Sha256Hex("text"), &record_);
  fs::rename(top_ / "a", top_ / "c");
  Write("c/b/rum.toml", "edited");
  EXPECT_TRUE(IsGone(record_.config_path()));
  EXPECT_TRUE(MayBe("c/b/rum.toml"));
}

TEST_F(Place, WhatSaysTheSameMayBeItWhateverItsName) {
  fs::create_directories(top_ / "copied");
  Write("copied/rum.toml", "text");
  Write("copied/dev.rum.toml", "text");
  fs::remove_all(top_ / "old");
  EXPECT_TRUE(MayBe("copied/rum.toml"));
  EXPECT_TRUE(MayBe("copied/dev.rum.toml"));
  Write("copied/rum.toml", "edited");
  EXPECT_FALSE(MayBe("copied/rum.toml"));
  EXPECT_FALSE(MayBe("copied/nowhere.toml"));
}

TEST_F(Place, AFolderThatGotTheNumberOfTheOldOneIsAnother) {
  fs::create_directories(top_ / "new");
  Write("new/rum.toml", "edited");
  FolderMark reused = FolderMarkOf(top_ / "new/rum.toml");
  if (reused.born_ns() == 0) GTEST_SKIP() << "this filesystem does not tell when a folder was made";
  reused.set_born_ns(reused.born_ns() - 1);
  *record_.mutable_folder() = reused;
  EXPECT_FALSE(MayBe("new/rum.toml"));
}

TEST_F(Place, ARecordThatKnowsNothingFitsNowhere) {
  record_.clear_folder();
  record_.clear_text_hash();
  EXPECT_FALSE(MayBe("old/rum.toml"));
  EXPECT_FALSE(SameFolder(FolderMark(), FolderMark()));
}

TEST_F(Place, OnlyWhatHasNoNameAnyMoreIsGone) {
  EXPECT_FALSE(IsGone(top_ / "old/rum.toml"));
  EXPECT_TRUE(IsGone(top_ / "old/none.toml"));
  EXPECT_TRUE(IsGone(top_ / "nowhere/rum.toml"));
  EXPECT_TRUE(IsGone(top_ / "old/rum.toml/rum.toml"));
  fs::create_symlink("nowhere", top_ / "old/link.toml");
  EXPECT_FALSE(IsGone(top_ / "old/link.toml")) << "a link that leads nowhere is there";
}

}  // namespace
}  // namespace rum
