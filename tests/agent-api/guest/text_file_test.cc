#include "agent-api/guest/text_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>

#include "tests/agent-api/guest/folder.h"

namespace rum::guest {
namespace {

TEST(TextFile, AReaderSeesTheOldOrTheNewText) {
  const Folder folder;
  const std::string path = folder / "file";
  const std::string texts[] = {std::string(100000, 'a'), std::string(50000, 'b')};
  ASSERT_TRUE(WriteFileAtomically(path, texts[0], 0644).ok());
  std::atomic<bool> done = false;
  std::thread writer([&] {
    for (int i = 0; i < 100; ++i) {
      EXPECT_TRUE(WriteFileAtomically(path, texts[i % 2], 0644).ok());
    }
    done = true;
  });
  while (!done) {
    const std::string read = ReadFile(path);
    EXPECT_TRUE(read == texts[0] || read == texts[1]) << read.size();
  }
  writer.join();
}

TEST(TextFile, APipeInPlaceOfAFileIsEmptyAndHoldsNobodyUp) {
  const Folder folder;
  const std::string path = folder / "file";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(ReadFile(path), "");
}

TEST(TextFile, KeepsModeAndOwnerOfAnOldFile) {
  const Folder folder;
  const std::string path = folder / "file";
  Spill(path, "old");
  ASSERT_EQ(chmod(path.c_str(), 0604), 0);
  ASSERT_EQ(chown(path.c_str(), 7, 8), 0);
  ASSERT_TRUE(WriteFileAtomically(path, "new", 0600).ok());
  struct stat file {};
  stat(path.c_str(), &file);
  EXPECT_EQ(file.st_mode & 07777, 0604u);
  EXPECT_EQ(file.st_uid, 7u);
  EXPECT_EQ(file.st_gid, 8u);
  EXPECT_EQ(Slurp(path), "new");
}

TEST(TextFile, ANewFileHasTheModeWhateverTheUmask) {
  const Folder folder;
  const mode_t before = umask(077);
  ASSERT_TRUE(WriteFileAtomically(folder / "file", "", 0644).ok());
  umask(before);
  struct stat file {};
  stat((folder / "file").c_str(), &file);
  EXPECT_EQ(file.st_mode & 07777, 0644u);
}

TEST(TextFile, TheRestOfAnEarlierTryIsNoHindrance) {
  const Folder folder;
  Spill(folder / "file.rum-new", "half of something longer");
  ASSERT_TRUE(WriteFileAtomically(folder / "file", "new", 0644).ok());
  EXPECT_EQ(Slurp(folder / "file"), "new");
  EXPECT_FALSE(std::filesystem::exists(folder / "file.rum-new"));
}

TEST(TextFile, AFailureSaysWhatFailedAndLeavesNothingBehind) {
  const Folder folder;
  std::filesystem::create_directory(folder / "file");
  const absl::Status status = WriteFileAtomically(folder / "file", "new", 0644);
  EXPECT_EQ(status.message(), "rename to " + (folder / "file") + ": Is a directory");
  EXPECT_FALSE(std::filesystem::exists(folder / "file.rum-new"));
  EXPECT_FALSE(WriteFileAtomically(folder / "no/file", "new", 0644).ok());
}

TEST(TextFile, AMissingFileIsToldFromOneThatCannotBeRead) {
  const Folder folder;
  EXPECT_EQ(ReadFileToEdit(folder / "none").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadFileToEdit(folder.path()).status().code(), absl::StatusCode::kInternal);
  const std::string bytes("a\0b\n\xff", 5);
  Spill(folder / "file", bytes);
  EXPECT_EQ(*ReadFileToEdit(folder / "file"), bytes);
  EXPECT_EQ(ReadFile(folder / "none"), "");
  EXPECT_EQ(ReadFile(folder.path()), "");
}

TEST(TextFile, FirstLine) {
  EXPECT_EQ(FirstLine("a\nb\n"), "a");
  EXPECT_EQ(FirstLine("a"), "a");
  EXPECT_EQ(FirstLine("\nb"), "");
  EXPECT_EQ(FirstLine(""), "");
}

TEST(TextFile, AFolderIsSyncedOrItIsSaidWhyNot) {
  const Folder folder;
  EXPECT_TRUE(SyncFolder(folder.path()).ok());
  EXPECT_FALSE(SyncFolder(folder / "none").ok());
}

}  // namespace
}  // namespace rum::guest
