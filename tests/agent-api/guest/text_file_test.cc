#include "agent-api/guest/text_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>

#include "tests/agent-api/guest/folder.h"

namespace rum::guest {
namespace {

std::string AttributeOf(const std::string& path, const char* name) {
  std::string value(4096, '\0');
  const ssize_t size = getxattr(path.c_str(), name, value.data(), value.size());
  value.resize(size < 0 ? 0 : static_cast<size_t>(size));
  return value;
}

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

TEST(TextFile, KeepsAccessListsAndOtherAttributes) {
  const Folder folder;
  const std::string path = folder / "file";
  Spill(path, "old");
  // Version 2: owner rw, user 7 r, group r, mask r, others none.
  const std::string acl(
      "\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x04\0\x07\0\0\0\x04\0\x04\0\xff\xff\xff\xff"
      "\x10\0\x04\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff",
      44);
  const char* kAcl = "system.posix_acl_access";
  ASSERT_EQ(setxattr(path.c_str(), kAcl, acl.data(), acl.size(), 0), 0) << strerror(errno);
  ASSERT_EQ(setxattr(path.c_str(), "trusted.note", "\xff\0x", 3, 0), 0) << strerror(errno);
  ASSERT_TRUE(WriteFileAtomically(path, "new", 0600).ok());
  EXPECT_EQ(AttributeOf(path, kAcl), acl);
  EXPECT_EQ(AttributeOf(path, "trusted.note"), std::string("\xff\0x", 3));
  EXPECT_EQ(Slurp(path), "new");
}

TEST(TextFile, AFileWithoutAnAccessListGetsNoneFromItsFolder) {
  const Folder folder;
  const std::string path = folder / "file";
  Spill(path, "old");
  ASSERT_EQ(chmod(path.c_str(), 0640), 0);
  const std::string acl(
      "\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x06\0\x07\0\0\0\x04\0\x06\0\xff\xff\xff\xff"
      "\x10\0\x06\0\xff\xff\xff\xff\x20\0\x06\0\xff\xff\xff\xff",
      44);
  ASSERT_EQ(setxattr(folder.path().c_str(), "system.posix_acl_default", acl.data(), acl.size(), 0),
            0);
  ASSERT_TRUE(WriteFileAtomically(path, "new", 0600).ok());
  EXPECT_EQ(AttributeOf(path, "system.posix_acl_access"), "");
  struct stat file {};
  stat(path.c_str(), &file);
  EXPECT_EQ(file.st_mode & 07777, 0640u);
}

TEST(TextFile, ALinkStaysAndWhatItLeadsToIsReplaced) {
  const Folder folder;
  std::filesystem::create_directory(folder / "deep");
  Spill(folder / "deep/real", "old");
  ASSERT_EQ(chmod((folder / "deep/real").c_str(), 0604), 0);
  std::filesystem::create_symlink("deep/second", folder / "file");
  std::filesystem::create_symlink("real", folder / "deep/second");
  ASSERT_TRUE(WriteFileAtomically(folder / "file", "new", 0600).ok());
  EXPECT_EQ(std::filesystem::read_symlink(folder / "file"), "deep/second");
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "deep/second"));
  EXPECT_FALSE(std::filesystem::is_symlink(folder / "deep/real"));
  EXPECT_EQ(Slurp(folder / "deep/real"), "new");
  struct stat file {};
  stat((folder / "file").c_str(), &file);
  EXPECT_EQ(file.st_mode & 07777, 0604u);
}

TEST(TextFile, WhatADanglingLinkLeadsToIsMade) {
  const Folder folder;
  std::filesystem::create_symlink("later", folder / "file");
  ASSERT_TRUE(WriteFileAtomically(folder / "file", "new", 0640).ok());
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "file"));
  EXPECT_EQ(Slurp(folder / "later"), "new");
}

TEST(TextFile, LinksInARingAndWhatIsNoFileAreNotReplaced) {
  const Folder folder;
  std::filesystem::create_symlink("two", folder / "one");
  std::filesystem::create_symlink("one", folder / "two");
  EXPECT_FALSE(WriteFileAtomically(folder / "one", "new", 0644).ok());
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "two"));
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_FALSE(WriteFileAtomically(folder / "pipe", "new", 0644).ok());
  EXPECT_TRUE(std::filesystem::is_fifo(folder / "pipe"));
  std::filesystem::create_symlink("/dev/zero", folder / "endless");
  EXPECT_FALSE(ReadFileToEdit(folder / "endless").ok());
  EXPECT_FALSE(WriteFileAtomically(folder / "endless", "new", 0644).ok());
}

TEST(TextFile, WhatSomebodyPutInTheWayOfTheNewFileIsNotWrittenThrough) {
  const Folder folder;
  Spill(folder / "file", "old");
  Spill(folder / "precious", "mine");
  std::filesystem::create_symlink("precious", folder / "file.rum-new");
  ASSERT_TRUE(WriteFileAtomically(folder / "file", "new", 0644).ok());
  EXPECT_EQ(Slurp(folder / "precious"), "mine");
  std::filesystem::create_directory(folder / "file.rum-new");
  ASSERT_TRUE(WriteFileAtomically(folder / "file", "newer", 0644).ok());
  EXPECT_EQ(Slurp(folder / "file"), "newer");
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
  EXPECT_EQ(status.message(), (folder / "file") + " in the guest is a folder");
  EXPECT_FALSE(std::filesystem::exists(folder / "file.rum-new"));
  EXPECT_FALSE(WriteFileAtomically(folder / "no/file", "new", 0644).ok());
  std::filesystem::create_symlink("file", folder / "link");
  EXPECT_EQ(WriteFileAtomically(folder / "link", "new", 0644).message(),
            (folder / "link") + " in the guest is a link: " + (folder / "file") +
                " in the guest is a folder");
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

TEST(TextFile, WhatIsTooLargeIsNotRead) {
  const Folder folder;
  const std::string path = folder / "large";
  Spill(path, "text");
  EXPECT_EQ(ReadFile(path, 4), "text");
  EXPECT_EQ(ReadFile(path, 3), "");
  std::filesystem::resize_file(path, uintmax_t{1} << 40);
  EXPECT_THAT(std::string(ReadFileToEdit(path).status().message()),
              testing::HasSubstr("large in the guest is larger than 16384 KiB"));
}

TEST(TextFile, AFolderIsSyncedOrItIsSaidWhyNot) {
  const Folder folder;
  EXPECT_TRUE(SyncFolder(folder.path()).ok());
  EXPECT_FALSE(SyncFolder(folder / "none").ok());
}

}  // namespace
}  // namespace rum::guest
