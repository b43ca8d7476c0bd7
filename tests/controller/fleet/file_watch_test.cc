#include "controller/fleet/file_watch.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <vector>

#include "absl/time/clock.h"
#include "controller/fleet/file_places.h"
#include "state/file.h"
#include "tests/eventually.h"

namespace rum {
namespace {

class FileWatchTest : public testing::Test {
 protected:
  FileWatchTest() {
    std::string folder = std::string(getenv("TEST_TMPDIR")) + "/watch.XXXXXX";
    folder_ = mkdtemp(folder.data());
  }
  bool Told(int times) const {
    return Eventually([&] { return told_ >= times; });
  }

  std::string folder_;
  std::atomic<int> told_ = 0;
};

TEST_F(FileWatchTest, TellsOfAFileThatIsWrittenReplacedOrRemoved) {
  const std::string path = folder_ + "/rum.toml";
  FileWatch watch([&](const std::string& changed) {
    EXPECT_EQ(changed, path);
    ++told_;
  });
  watch.Add(path);
  std::ofstream(path) << "a";
  EXPECT_TRUE(Told(1));
  std::ofstream(path + ".new") << "b";
  std::rename((path + ".new").c_str(), path.c_str());
  EXPECT_TRUE(Told(2));
  std::remove(path.c_str());
  EXPECT_TRUE(Told(3));
}

TEST_F(FileWatchTest, TellsOnceOfABurst) {
  const std::string path = folder_ + "/rum.toml", other = folder_ + "/other.toml";
  std::atomic<int> others = 0;
  FileWatch watch([&](const std::string& changed) { ++(changed == path ? told_ : others); });
  watch.Add(path);
  watch.Add(other);
  for (int i = 0; i < 20; ++i) std::ofstream(path) << i;
  EXPECT_TRUE(Told(1));
  std::ofstream(other) << "marks the end";
  ASSERT_TRUE(Eventually([&] { return others > 0; }));
  EXPECT_EQ(told_, 1);
}

TEST_F(FileWatchTest, DoesNotWaitForEverForQuiet) {
  const std::string path = folder_ + "/rum.toml";
  FileWatch watch([&](const std::string&) { ++told_; });
  watch.Add(path);
  const absl::Time begin = absl::Now();
  while (told_ == 0 && absl::Now() - begin < absl::Seconds(60)) {
    std::ofstream(path) << "again";
    absl::SleepFor(absl::Milliseconds(20));
  }
  EXPECT_GT(told_, 0);
}

TEST_F(FileWatchTest, AFolderThatGoesAndComesBackIsSeen) {
  const std::string folder = folder_ + "/project", path = folder + "/rum.toml";
  FileWatch watch([&](const std::string&) { ++told_; });
  EXPECT_FALSE(watch.Add(path)) << "there is no folder yet";
  std::filesystem::create_directory(folder);
  EXPECT_TRUE(watch.Add(path));
  EXPECT_TRUE(watch.Add(path));
  std::filesystem::rename(folder, folder + ".old");
  EXPECT_TRUE(Told(1));
  EXPECT_FALSE(watch.Add(path)) << "what has moved away is another one";
  std::filesystem::create_directory(folder);
  EXPECT_TRUE(watch.Add(path));
  std::ofstream(path) << "a";
  EXPECT_TRUE(Told(2));
  std::filesystem::remove_all(folder);
  EXPECT_TRUE(Told(3));
  EXPECT_FALSE(watch.Add(path));
}

// An open file that is written in parts, as editors and `cat > FILE` with a slow source do.
class SlowWriter {
 public:
  explicit SlowWriter(const std::string& path)
      : fd_(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) {}
  ~SlowWriter() { Close(); }
  void Write(const std::string& text) {
    EXPECT_EQ(write(fd_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

TEST_F(FileWatchTest, AHalfIsNotToldOf) {
  // Of two that are due at once, the watch tells in the order of their names.
  const std::string path = folder_ + "/rum.toml", other = path + ".later";
  for (const bool there_before : {true, false}) {
    if (there_before) std::ofstream(path) << "old";
    std::string read;
    told_ = 0;
    std::atomic<int> others = 0;
    FileWatch watch([&](const std::string& changed) {
      if (changed != path) {
        ++others;
        return;
      }
      read = *ReadFile(path);
      ++told_;
    });
    ASSERT_TRUE(watch.Add(path));
    ASSERT_TRUE(watch.Add(other));
    EXPECT_FALSE(watch.BeingWritten(path));
    SlowWriter writer(path);
    writer.Write("one half, ");
    EXPECT_TRUE(watch.BeingWritten(path)) << "at once, for whoever reads now";
    std::ofstream(other) << "whole, and later than the half";
    ASSERT_TRUE(Eventually([&] { return others > 0; }));
    EXPECT_EQ(told_, 0);
    EXPECT_TRUE(watch.BeingWritten(path));
    writer.Write("the other");
    writer.Close();
    EXPECT_TRUE(Told(1));
    EXPECT_EQ(read, "one half, the other");
    EXPECT_FALSE(watch.BeingWritten(path));
    std::filesystem::remove(path);
  }
}

TEST_F(FileWatchTest, AWriterThatDoesNotEndIsNotWaitedForForEver) {
  const std::string path = folder_ + "/rum.toml";
  std::atomic<bool> being_written = true;
  FileWatch* told_by = nullptr;
  FileWatch watch([&](const std::string&) {
    being_written = told_by->BeingWritten(path);
    ++told_;
  });
  told_by = &watch;
  ASSERT_TRUE(watch.Add(path));
  const absl::Time begin = absl::Now();
  SlowWriter writer(path);
  writer.Write("a half");
  EXPECT_TRUE(Told(1));
  EXPECT_GE(absl::Now() - begin, absl::Milliseconds(4900));
  EXPECT_FALSE(being_written) << "it is read as it is";
}

TEST_F(FileWatchTest, WhatIsPutInPlaceWholeIsNotWaitedFor) {
  const std::string path = folder_ + "/rum.toml", made = folder_ + "/made";
  FileWatch watch([&](const std::string&) { ++told_; });
  ASSERT_TRUE(watch.Add(path));
  std::ofstream(made) << "whole";
  std::filesystem::create_hard_link(made, path);
  EXPECT_FALSE(watch.BeingWritten(path));
  EXPECT_TRUE(Told(1));
  std::filesystem::remove(path);
  EXPECT_TRUE(Told(2));
  std::filesystem::create_symlink("made", path);
  EXPECT_FALSE(watch.BeingWritten(path));
  EXPECT_TRUE(Told(3));
}

TEST_F(FileWatchTest, RightsThatComeAndGoAreToldOf) {
  const std::string path = folder_ + "/rum.toml";
  std::ofstream(path) << "a";
  FileWatch watch([&](const std::string&) { ++told_; });
  ASSERT_TRUE(watch.Add(path));
  ASSERT_EQ(chmod(path.c_str(), 0000), 0);
  EXPECT_TRUE(Told(1));
  ASSERT_EQ(chmod(path.c_str(), 0644), 0);
  EXPECT_TRUE(Told(2));
}

TEST_F(FileWatchTest, ALinkAndWhatItLeadsToAreBothWatched) {
  const std::string path = folder_ + "/rum.toml", elsewhere = folder_ + "/elsewhere";
  std::filesystem::create_directory(elsewhere);
  std::ofstream(elsewhere + "/one") << "1";
  std::ofstream(elsewhere + "/two") << "2";
  std::filesystem::create_symlink("elsewhere/one", path);
  FileWatch watch([&](const std::string& changed) {
    EXPECT_EQ(changed, path);
    ++told_;
  });
  ASSERT_TRUE(watch.Add(path));
  std::ofstream(elsewhere + "/one") << "1 again";
  EXPECT_TRUE(Told(1));
  std::filesystem::create_symlink(elsewhere + "/two", path + ".new");
  std::filesystem::rename(path + ".new", path);
  EXPECT_TRUE(Told(2));
  std::ofstream(elsewhere + "/two") << "2 again";
  EXPECT_TRUE(Told(3));
  std::filesystem::remove(elsewhere + "/two");
  EXPECT_TRUE(Told(4));
}

// As Kubernetes mounts a ConfigMap: rum.toml -> ..data/rum.toml, ..data -> ..v1.
TEST_F(FileWatchTest, ALinkInTheMiddleOfAChainIsWatched) {
  const std::string path = folder_ + "/rum.toml";
  for (const char* version : {"..v1", "..v2"}) {
    std::filesystem::create_directory(folder_ + "/" + version);
    std::ofstream(folder_ + "/" + version + "/rum.toml") << version;
  }
  std::filesystem::create_symlink("..v1", folder_ + "/..data");
  std::filesystem::create_symlink("..data/rum.toml", path);
  FileWatch watch([&](const std::string&) { ++told_; });
  ASSERT_TRUE(watch.Add(path));
  std::filesystem::create_symlink("..v2", folder_ + "/..tmp");
  std::filesystem::rename(folder_ + "/..tmp", folder_ + "/..data");
  EXPECT_TRUE(Told(1));
  std::ofstream(folder_ + "/..v2/rum.toml") << "again";
  EXPECT_TRUE(Told(2));
}

TEST_F(FileWatchTest, AFolderAboveThatIsExchangedIsSeen) {
  const std::string above = folder_ + "/above", path = above + "/project/rum.toml";
  std::filesystem::create_directories(above + "/project");
  std::ofstream(path) << "old";
  std::filesystem::create_directories(above + ".new/project");
  std::ofstream(above + ".new/project/rum.toml") << "new";
  FileWatch watch([&](const std::string&) { ++told_; });
  ASSERT_TRUE(watch.Add(path));
  std::filesystem::rename(above, above + ".old");
  std::filesystem::rename(above + ".new", above);
  EXPECT_TRUE(Told(1));
  const int before = told_;
  std::ofstream(path) << "newer";
  EXPECT_TRUE(Told(before + 1));
  std::filesystem::rename(above, above + ".new");
  std::filesystem::rename(above + ".old", above);
  EXPECT_TRUE(Told(before + 2));
}

TEST_F(FileWatchTest, AFolderThatGoesIsFoundAgainByItself) {
  const std::string folder = folder_ + "/project", path = folder + "/rum.toml";
  std::filesystem::create_directory(folder);
  FileWatch watch([&](const std::string&) { ++told_; });
  ASSERT_TRUE(watch.Add(path));
  std::filesystem::remove_all(folder);
  EXPECT_TRUE(Told(1));
  const int before = told_;
  std::filesystem::create_directory(folder);
  std::ofstream(path) << "a";
  EXPECT_TRUE(Told(before + 1));
}

TEST_F(FileWatchTest, WhereTheKernelTellsNothingFilesAreLookedAt) {
  const std::string path = folder_ + "/rum.toml", real = folder_ + "/real";
  std::ofstream(real) << "a";
  std::filesystem::create_symlink("real", path);
  FileWatch watch([&](const std::string&) { ++told_; }, /*listens=*/false);
  EXPECT_FALSE(watch.Add(path));
  std::ofstream(real) << "longer";
  EXPECT_TRUE(Told(1));
  ASSERT_EQ(chmod(real.c_str(), 0400), 0);
  EXPECT_TRUE(Told(2));
  std::filesystem::remove(path);
  EXPECT_TRUE(Told(3));
  std::ofstream(path) << "b";
  EXPECT_TRUE(Told(4));
}

TEST(FilePlaces, AreTheLinksOfAChainAndItsEnd) {
  std::string folder = std::string(getenv("TEST_TMPDIR")) + "/places.XXXXXX";
  folder = mkdtemp(folder.data());
  std::filesystem::create_directories(folder + "/a/b");
  std::filesystem::create_symlink("a/./b/../link", folder + "/rum.toml");
  std::filesystem::create_symlink(folder + "/end", folder + "/a/link");
  std::filesystem::create_symlink("loop", folder + "/loop");
  const std::vector<FilePlace> chain = {
      {folder + "/", "rum.toml"}, {folder + "/a/b/..", "link"}, {folder, "end"}};
  EXPECT_EQ(PlacesOf(folder + "/rum.toml"), chain) << "whose end is not there";
  EXPECT_EQ(PlacesOf(folder + "/plain"), (std::vector<FilePlace>{{folder + "/", "plain"}}));
  EXPECT_LE(PlacesOf(folder + "/loop").size(), 2u);
  EXPECT_TRUE(TellsChanges(folder));
  EXPECT_FALSE(TellsChanges(folder + "/gone"));
  EXPECT_EQ(FolderAt(folder), FolderAt(folder + "/a/.."));
  EXPECT_EQ(FolderAt(folder + "/gone"), FolderId());
  std::filesystem::remove_all(folder);
}

TEST_F(FileWatchTest, OneOfTwoFilesOfAFolderCanBeLeftAlone) {
  const std::string path = folder_ + "/rum.toml", other = folder_ + "/other.toml";
  std::atomic<int> others = 0;
  FileWatch watch([&](const std::string& changed) { ++(changed == path ? told_ : others); });
  watch.Add(path);
  watch.Add(other);
  watch.Remove(other);
  std::ofstream(other) << "nobody looks";
  std::ofstream(path) << "a";
  EXPECT_TRUE(Told(1));
  EXPECT_EQ(others, 0);
}

}  // namespace
}  // namespace rum
