#include "agent-api/guest/filesystem.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/agent-api/guest/folder.h"

namespace rum::guest {
namespace {

using testing::ElementsAre;

agent::Volume Of(const std::string& type, const std::string& mode = "") {
  agent::Volume volume;
  volume.set_type(type);
  volume.set_mode(mode);
  volume.set_target("/tank");
  volume.set_pool("tank");
  return volume;
}

class Device : public testing::Test {
 protected:
  Device() {
    Spill(path_, "");
    std::filesystem::resize_file(path_, 16 << 20);
  }
  DeviceContent Probe() {
    const absl::StatusOr<DeviceContent> content = ProbeDevice(path_);
    EXPECT_TRUE(content.ok()) << content.status();
    return content.ok() ? *content : DeviceContent();
  }
  void Format(const std::string& type) {
    std::vector<std::string> words = FormatCommand(Of(type), {path_});
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
    const pid_t pid = fork();
    if (pid == 0) {
      execvp(argv[0], argv.data());
      _exit(127);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    ASSERT_EQ(status, 0) << words[0];
  }

  const Folder folder_;
  const std::string path_ = folder_ / "device";
};

TEST_F(Device, OfZerosIsBlank) {
  EXPECT_TRUE(Probe().blank);
  EXPECT_EQ(Probe().type, "");
}

TEST_F(Device, WithAnyDataInFrontIsNotBlank) {
  Spill(path_, std::string(5000, '\0') + "precious" + std::string(4 << 20, '\0'));
  EXPECT_FALSE(Probe().blank);
  EXPECT_EQ(Probe().type, "");
}

TEST_F(Device, WithAFilesystemIsKnownByItAndItsUuid) {
  Format("ext4");
  const DeviceContent content = Probe();
  EXPECT_FALSE(content.blank);
  EXPECT_TRUE(IsOf(Of("ext4"), content));
  EXPECT_FALSE(IsOf(Of("btrfs"), content));
  EXPECT_EQ(content.uuid.size(), 36u);
}

TEST_F(Device, CanBeMadeBlankWhateverIsOnIt) {
  std::filesystem::resize_file(path_, 160 << 20);  // room for the copies that btrfs makes of itself
  for (const char* type : {"ext4", "btrfs", "vfat"}) {
    Format(type);
    ASSERT_FALSE(Probe().blank) << type;
    EXPECT_TRUE(MakeBlank(path_).ok());
    EXPECT_TRUE(Probe().blank) << type;
  }
}

TEST_F(Device, WithAPartitionTableIsNotBlank) {
  std::string table(512, '\0');
  table[446 + 4] = '\x83';
  table[446 + 8] = 1;
  table[446 + 12] = 8;
  table[510] = '\x55';
  table[511] = '\xaa';
  Spill(path_, table + std::string(4 << 20, '\0'));
  EXPECT_FALSE(Probe().blank);
  EXPECT_EQ(Probe().type, "dos");
}

TEST(DeviceThatIsNotThere, IsAnError) { EXPECT_FALSE(ProbeDevice("/nowhere").ok()); }

TEST(FormatCommand, NamesEachFilesystemsOwnTool) {
  EXPECT_THAT(FormatCommand(Of("ext4"), {"/dev/vdb"}),
              ElementsAre("mkfs.ext4", "-q", "-F", "/dev/vdb"));
  EXPECT_THAT(FormatCommand(Of("vfat"), {"/dev/vdb"}), ElementsAre("mkfs.vfat", "/dev/vdb"));
  EXPECT_THAT(
      FormatCommand(Of("btrfs", "raid1"), {"/dev/vdb", "/dev/vdc"}),
      ElementsAre("mkfs.btrfs", "-q", "-d", "raid1", "-m", "raid1", "/dev/vdb", "/dev/vdc"));
  EXPECT_THAT(
      FormatCommand(Of("zfs", "mirror"), {"/dev/vdb", "/dev/vdc"}),
      ElementsAre("zpool", "create", "-m", "/tank", "tank", "mirror", "/dev/vdb", "/dev/vdc"));
}

}  // namespace
}  // namespace rum::guest
