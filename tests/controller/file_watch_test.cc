#include "controller/file_watch.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "absl/time/clock.h"

namespace rum {
namespace {

class FileWatchTest : public testing::Test {
 protected:
  FileWatchTest() {
    std::string folder = std::string(getenv("TEST_TMPDIR")) + "/watch.XXXXXX";
    folder_ = mkdtemp(folder.data());
  }
  bool Told(int times) {
    const absl::Time deadline = absl::Now() + absl::Seconds(20);
    while (absl::Now() < deadline) {
      if (told_ >= times) return true;
      absl::SleepFor(absl::Milliseconds(2));
    }
    return false;
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
  while (others == 0) absl::SleepFor(absl::Milliseconds(2));
  EXPECT_EQ(told_, 1);
}

TEST_F(FileWatchTest, DoesNotWaitForEverForQuiet) {
  const std::string path = folder_ + "/rum.toml";
  FileWatch watch([&](const std::string&) { ++told_; });
  watch.Add(path);
  const absl::Time begin = absl::Now();
  while (told_ == 0 && absl::Now() - begin < absl::Seconds(20)) {
    std::ofstream(path) << "again";
    absl::SleepFor(absl::Milliseconds(20));
  }
  EXPECT_LT(absl::Now() - begin, absl::Seconds(5));
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
