#include "agent-api/guest/drives.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent-api/guest/filesystem_size.h"
#include "agent-api/guest/mount_table.h"
#include "agent-api/guest/mount_users.h"
#include "agent-api/guest/tool.h"
#include "tests/agent-api/guest/folder.h"

namespace rum::guest {
namespace {

using testing::HasSubstr;

BlockPart Part(const std::string& name, int number, uint64_t begin, uint64_t size) {
  return {name, absl::StrCat("254:", number), number, begin, size};
}

MountEntry Mount(const std::string& target, const std::string& type, const std::string& source,
                 const std::string& device) {
  return {target, type, source, false, device};
}

const std::vector<BlockPart> kCloudDisk = {Part("vda", 0, 0, 10000), Part("vda14", 14, 1, 10),
                                           Part("vda15", 15, 11, 100), Part("vda1", 1, 111, 5000)};

TEST(Ground, OfARootDiskIsWhatIsAtTheRoot) {
  const auto ground = GroundOf(kCloudDisk, {Mount("/", "ext4", "/dev/root", "254:1"),
                                            Mount("/boot/efi", "vfat", "/dev/vda15", "254:15")});
  ASSERT_TRUE(ground.has_value());
  EXPECT_EQ(ground->part.name, "vda1");
  EXPECT_EQ(ground->mount.target, "/");
  EXPECT_TRUE(ground->last);
}

TEST(Ground, WithAnotherPartitionBehindItIsNotTheLast) {
  const auto ground = GroundOf(kCloudDisk, {Mount("/", "ext4", "/dev/vda15", "254:15")});
  ASSERT_TRUE(ground.has_value());
  EXPECT_FALSE(ground->last);
}

TEST(Ground, OfADriveIsTheDriveItself) {
  const auto ground = GroundOf({Part("vdb", 0, 0, 100)}, {Mount("/b", "xfs", "/dev/vdb", "254:0")});
  ASSERT_TRUE(ground.has_value());
  EXPECT_EQ(ground->part.partition, 0);
  EXPECT_TRUE(ground->last);
}

TEST(Ground, OfWhatIsNotMountedIsNone) {
  EXPECT_FALSE(GroundOf(kCloudDisk, {Mount("/", "ext4", "/dev/sda1", "8:1")}).has_value());
}

std::string Output(const std::string& command) {
  FILE* pipe = popen(command.c_str(), "r");
  std::string text;
  char buffer[4096];
  while (fgets(buffer, sizeof buffer, pipe) != nullptr) text += buffer;
  EXPECT_EQ(pclose(pipe), 0) << command;
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

// A disk of this machine's kernel with a real filesystem, which only this test sees mounted.
class MountedDisk : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    ASSERT_EQ(unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
  }
  void Make(const std::string& type, int megabytes) {
    Spill(file_, "");
    Resize(megabytes);
    const std::vector<std::string> words =
        type == "ext4" ? std::vector<std::string>{"mkfs.ext4", "-q", "-F", file_}
                       : std::vector<std::string>{absl::StrCat("mkfs.", type), "-q", file_};
    ASSERT_EQ(RunTool(words), absl::OkStatus());
    disk_ = Output("losetup --find --show " + file_).substr(5);
    std::filesystem::create_directory(target_);
    ASSERT_EQ(mount(("/dev/" + disk_).c_str(), target_.c_str(), type.c_str(), 0, nullptr), 0)
        << strerror(errno);
  }
  void Resize(int megabytes) {
    std::filesystem::resize_file(file_, static_cast<uintmax_t>(megabytes) << 20);
    if (!disk_.empty()) Output("losetup --set-capacity /dev/" + disk_);
  }
  void TearDown() override {
    umount2(target_.c_str(), 0);
    if (!disk_.empty()) Output("losetup --detach /dev/" + disk_);
  }

  const Folder folder_;
  const std::string file_ = folder_ / "disk";
  const std::string target_ = folder_ / "mounted";
  std::string disk_;
};

TEST_F(MountedDisk, ThatIsFullDoesNotGrow) {
  for (const char* type : {"ext4", "btrfs"}) {
    Make(type, 130);
    const agent::DriveState state = LookAtDisk(disk_, false);
    EXPECT_EQ(state.size(), 130u << 20);
    EXPECT_FALSE(state.grows()) << type;
    EXPECT_EQ(state.cannot_grow(), "") << type;
    TearDown();
    disk_.clear();
    std::filesystem::remove(target_);
  }
}

TEST_F(MountedDisk, IsInTheTableAsItIsMountedNow) {
  EXPECT_EQ(MountedAt(MountsNow(), target_), nullptr);
  Make("ext4", 64);
  for (const bool readonly : {false, true, false}) {
    const unsigned long flags = MS_REMOUNT | (readonly ? MS_RDONLY : 0);
    ASSERT_EQ(mount(nullptr, target_.c_str(), nullptr, flags, nullptr), 0);
    const std::vector<MountEntry> mounts = MountsNow();
    const MountEntry* const there = MountedAt(mounts, target_);
    ASSERT_NE(there, nullptr);
    EXPECT_EQ(there->readonly, readonly);
  }
  ASSERT_EQ(umount2(target_.c_str(), 0), 0);
  EXPECT_EQ(MountedAt(MountsNow(), target_), nullptr);
}

TEST_F(MountedDisk, OfExt4TellsItsSizeWhileItIsMounted) {
  Make("ext4", 64);
  EXPECT_EQ(*FilesystemSize("ext4", "/dev/" + disk_, target_), 64u << 20);
  Resize(96);
  EXPECT_TRUE(LookAtDisk(disk_, false).grows());
  EXPECT_EQ(*FilesystemSize("ext4", "/dev/" + disk_, target_), 64u << 20);
}

TEST_F(MountedDisk, GrowsWithItsFilesystemAndTwiceIsOnce) {
  Make("btrfs", 130);
  Resize(200);
  EXPECT_THAT(LookAtDisk(disk_, false).cannot_grow(), HasSubstr("256 MiB")) << "no kernel grows it";
  Resize(300);
  EXPECT_TRUE(LookAtDisk(disk_, false).grows());
  ASSERT_EQ(GrowOnDisk(disk_), absl::OkStatus());
  EXPECT_FALSE(LookAtDisk(disk_, false).grows());
  uint64_t number = 0;
  EXPECT_EQ(*BtrfsDeviceSize("/dev/" + disk_, target_, &number), 300u << 20);
  EXPECT_EQ(GrowOnDisk(disk_), absl::OkStatus());
}

TEST_F(MountedDisk, OfAKindThatNothingGrowsSaysSo) {
  Make("ext4", 64);
  ASSERT_EQ(mount(nullptr, target_.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr), 0);
  Resize(96);
  EXPECT_THAT(LookAtDisk(disk_, false).cannot_grow(), HasSubstr("read-only"));
  EXPECT_FALSE(GrowOnDisk(disk_).ok());
}

TEST_F(MountedDisk, NamesWhoUsesIt) {
  Make("ext4", 64);
  const agent::DriveState idle = LookAtDisk(disk_, true);
  EXPECT_EQ(idle.used(), "mounted at " + target_);
  EXPECT_FALSE(idle.idle()) << "rum did not mount it";
  const pid_t pid = fork();
  if (pid == 0) {
    if (chdir(target_.c_str()) == 0) pause();
    _exit(1);
  }
  while (UsersOf(target_).empty()) usleep(1000);
  EXPECT_EQ(KeptMountedBy(target_), absl::StrCat("pid ", pid, " (drives_test)"));
  EXPECT_THAT(LookAtDisk(disk_, true).used(), HasSubstr(absl::StrCat("pid ", pid)));
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  EXPECT_EQ(KeptMountedBy(target_), "");
  umount2(target_.c_str(), 0);
  EXPECT_EQ(LookAtDisk(disk_, true).used(), "");
}

TEST(DriveThatIsNotThere, IsWaitedForNoLongerThanItTakes) {
  EXPECT_TRUE(PartsOf("no-such-disk").empty());
  EXPECT_EQ(GrowOnDisk("no-such-disk").code(), absl::StatusCode::kNotFound);
}

TEST(Drives, BeginWithTheRoots) {
  const std::vector<agent::DriveState> drives = ObserveDrives({});
  ASSERT_FALSE(drives.empty());
  EXPECT_EQ(drives[0].serial(), kRootSerial);
}

}  // namespace
}  // namespace rum::guest
