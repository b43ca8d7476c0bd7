#include "agent-api/guest/mount_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <string>
#include <vector>

#include "agent-api/guest/text_file.h"

namespace rum::guest {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

agent::Volume Disk(const std::string& target) {
  agent::Volume volume;
  volume.set_target(target);
  volume.set_type("ext4");
  volume.add_serials("rum-a");
  return volume;
}

TEST(MountInfo, IsReadWithItsEscapesAndOptionalFields) {
  const std::vector<MountEntry> mounts = ParseMountInfo(
      "36 35 98:0 / /my\\040data rw,noatime master:1 shared:2 - ext4 /dev/vdb rw\n"
      "40 35 0:30 / /src ro,relatime - 9p src ro,sync\n"
      "41 35 0:31 / /bad\n");
  ASSERT_EQ(mounts.size(), 2u);
  EXPECT_EQ(mounts[0].target, "/my data");
  EXPECT_EQ(mounts[0].type, "ext4");
  EXPECT_EQ(mounts[0].source, "/dev/vdb");
  EXPECT_FALSE(mounts[0].readonly);
  EXPECT_TRUE(mounts[1].readonly);
  EXPECT_TRUE(mounts[0].follows);
  EXPECT_FALSE(mounts[1].follows);
  EXPECT_EQ(MountedAt(mounts, "/src"), &mounts[1]);
  EXPECT_EQ(MountedAt(mounts, "/sr"), nullptr);
}

TEST(MountInfo, OfThisVeryProcessHasARoot) {
  const auto mounts = ParseMountInfo(ReadFile("/proc/self/mountinfo"));
  EXPECT_NE(MountedAt(mounts, "/"), nullptr);
}

TEST(Fstab, LinesHoldNoBootUpAndEscapeWhatWouldEndAWord) {
  EXPECT_EQ(FstabLine(Disk("/my data"), "UUID=12-34"),
            "UUID=12-34 /my\\040data ext4 rw,nofail,x-systemd.device-timeout=20s 0 2\n");
  agent::Volume folder;
  folder.set_target("/a#b\n/etc/shadow");
  folder.set_type("virtiofs");
  folder.set_tag("t");
  folder.set_readonly(true);
  EXPECT_EQ(FstabLine(folder, "t"), "t /a\\043b\\012/etc/shadow virtiofs ro,nofail 0 0\n");
}

TEST(Fstab, RumsLinesAreABlockOfTheirOwnAndTheRestStays) {
  const std::string mine = "LABEL=root / ext4 defaults 0 0";
  const std::string one = WithOwnLines(mine, "a /a 9p ro 0 0\n");
  EXPECT_EQ(one.substr(0, mine.size() + 1), mine + "\n");
  EXPECT_EQ(OwnLines(one), "a /a 9p ro 0 0\n");
  const std::string more = one + "# by hand\n/dev/x /x ext4 ro 0 0\n";
  const std::string two = WithOwnLines(more, "b /b 9p ro 0 0\nc /c\\040d 9p ro 0 0\n");
  EXPECT_THAT(TargetsOf(OwnLines(two)), ElementsAre("/b", "/c d"));
  EXPECT_EQ(WithOwnLines(two, ""), mine + "\n# by hand\n/dev/x /x ext4 ro 0 0\n");
  EXPECT_THAT(TargetsOf(OwnLines(mine)), IsEmpty());
}

TEST(Fstab, AnyTargetComesBackAsItWas) {
  const bool held = rc::check([](const std::string& tail) {
    const std::string target = "/" + tail;
    if (target.find('\0') != std::string::npos) return;
    const std::string fstab = WithOwnLines("x / ext4 rw 0 0\n", FstabLine(Disk(target), "UUID=1"));
    RC_ASSERT(TargetsOf(OwnLines(fstab)) == std::vector<std::string>{target});
    RC_ASSERT(WithOwnLines(fstab, "") == "x / ext4 rw 0 0\n");
  });
  EXPECT_TRUE(held);
}

}  // namespace
}  // namespace rum::guest
