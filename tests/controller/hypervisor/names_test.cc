#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "controller/hypervisor/base_image.h"
#include "controller/hypervisor/definition.h"
#include "controller/hypervisor/volume_names.h"

namespace rum {
namespace {

TEST(VolumeNames, AreReadBack) {
  for (VolumeKind kind :
       {VolumeKind::kRoot, VolumeKind::kSeed, VolumeKind::kDrive, VolumeKind::kCopy}) {
    auto own =
        ParseVolumeName("rum-dev-0123456789ab", VolumeName("rum-dev-0123456789ab", kind, "part"));
    ASSERT_TRUE(own.has_value());
    EXPECT_EQ(own->kind, kind);
    EXPECT_EQ(own->part, "part");
  }
}

TEST(VolumeNames, OfOtherMachinesAreNotOnesOwn) {
  const std::string mine = "rum-dev-0123456789ab";
  for (const std::string other :
       {"rum-dev-ba9876543210", "rum-dev-0123456789ab-ba9876543210",
        "rum-dev-0123456789ab.root.x-ba9876543210", "rum-dev-0123456789ab.drive.x-ba9876543210"}) {
    for (VolumeKind kind : {VolumeKind::kRoot, VolumeKind::kDrive}) {
      EXPECT_FALSE(ParseVolumeName(mine, VolumeName(other, kind, "part")).has_value()) << other;
    }
  }
  for (const std::string other : {"", "rum-dev-0123456789ab", "rum-dev-0123456789ab.root.qcow2",
                                  "rum-dev-0123456789ab.root..qcow2", "my.qcow2"}) {
    EXPECT_FALSE(ParseVolumeName(mine, other).has_value()) << other;
  }
}

TEST(DriveSerial, FitsIntoTwentyBytesAndTellsDrivesApart) {
  EXPECT_EQ(DriveSerial("data"), "rum-data");
  const std::string longer(40, 'a');
  EXPECT_LE(DriveSerial(longer).size(), 20u);
  EXPECT_NE(DriveSerial(longer), DriveSerial(longer + "b"));
  EXPECT_EQ(DriveSerial("a.b").find('.'), std::string::npos);
}

TEST(MountTag, IsShortAndTellsTargetsApart) {
  auto tag = [](const std::string& target) {
    Mount mount;
    mount.set_target(target);
    return MountTag(mount);
  };
  EXPECT_EQ(tag("/mnt/src"), "mnt-src");
  EXPECT_NE(tag("/mnt-src"), tag("/mnt/src"));
  EXPECT_NE(tag("/a b"), tag("/ab"));
  EXPECT_LE(tag("/" + std::string(200, 'x')).size(), 36u);
  EXPECT_NE(tag("/"), tag("/?"));
}

TEST(BaseImage, IsKnownByItsFirstBytes) {
  const std::filesystem::path folder = testing::TempDir();
  std::ofstream(folder / "disk.raw") << std::string(4096, 'x');
  auto raw = ProbeBaseImage("file://" + (folder / "disk.raw").string());
  ASSERT_TRUE(raw.ok()) << raw.status();
  EXPECT_EQ(raw->format, "raw");
  EXPECT_EQ(raw->virtual_size, 4096u);
  std::string header = std::string("QFI\xfb\0\0\0\3", 8) + std::string(24, '\0');
  header[28] = 0x40;  // 1 GiB
  std::ofstream(folder / "disk.qcow2", std::ios::binary) << header;
  auto qcow2 = ProbeBaseImage((folder / "disk.qcow2").string());
  ASSERT_TRUE(qcow2.ok()) << qcow2.status();
  EXPECT_EQ(qcow2->format, "qcow2");
  EXPECT_EQ(qcow2->virtual_size, 1u << 30);
  EXPECT_FALSE(qcow2->has_backing);
}

TEST(BaseImage, SaysWhatIsWrong) {
  EXPECT_EQ(ProbeBaseImage("/there/is/no.qcow2").status().code(), absl::StatusCode::kNotFound);
  for (const char* base : {"https://example.org/a.qcow2", "debian-12", "", "/tmp"}) {
    EXPECT_EQ(ProbeBaseImage(base).status().code(), absl::StatusCode::kInvalidArgument) << base;
  }
}

}  // namespace
}  // namespace rum
