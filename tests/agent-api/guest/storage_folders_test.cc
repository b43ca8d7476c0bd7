// What a SetStorage makes of shared folders, with tmpfs in their place, which may have any name, as
// they have tags.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent-api/guest/mount_table.h"
#include "agent-api/guest/storage.h"
#include "agent-api/guest/text_file.h"
#include "tests/agent-api/guest/private_etc.h"

namespace rum::guest {
namespace {

using testing::HasSubstr;

constexpr char kTarget[] = "/home/shared";

agent::Volume Folder(bool readonly) {
  agent::Volume volume;
  volume.set_target(kTarget);
  volume.set_type("tmpfs");
  volume.set_tag("rum-share");
  volume.set_readonly(readonly);
  return volume;
}

class SharedFolders : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    EnterPrivateEtc();
    FillEtc();
  }
  void TearDown() override {
    LetGo();
    Set({});
    umount2(kTarget, MNT_DETACH);
  }
  // What is wrong with the last of them; empty: nothing.
  std::string Set(const std::vector<agent::Volume>& volumes) {
    const auto states = SetStorage(volumes, "dev", {}, &stale_problem_);
    if (!states.ok()) return std::string(states.status().message());
    return states->empty() ? "" : states->back().problem();
  }
  static bool IsReadOnly() {
    const auto mounts = ParseMountInfo(ReadFile("/proc/self/mountinfo"));
    const MountEntry* const there = MountedAt(mounts, kTarget);
    EXPECT_NE(there, nullptr);
    return there != nullptr && there->readonly;
  }
  // A process that does `work` and then stays.
  void Sit(const std::function<bool()>& work) {
    int ready[2];
    ASSERT_EQ(pipe(ready), 0);
    sitting_ = fork();
    if (sitting_ == 0) {
      if (work() && write(ready[1], "y", 1) == 1) pause();
      _exit(1);
    }
    close(ready[1]);
    char done = 'n';
    ASSERT_EQ(read(ready[0], &done, 1), 1);
    close(ready[0]);
  }
  void LetGo() {
    if (sitting_ == 0) return;
    kill(sitting_, SIGKILL);
    waitpid(sitting_, nullptr, 0);
    sitting_ = 0;
  }

  std::string stale_problem_;
  pid_t sitting_ = 0;
};

TEST_F(SharedFolders, AreReadOnlyAndWritableUnderWhoIsInThere) {
  ASSERT_EQ(Set({Folder(false)}), "");
  std::ofstream(absl::StrCat(kTarget, "/file")) << "kept";
  Sit([] { return chdir(kTarget) == 0; });
  ASSERT_EQ(Set({Folder(true)}), "");
  EXPECT_TRUE(IsReadOnly());
  EXPECT_THAT(ReadFile("/etc/fstab"), HasSubstr("rum-share /home/shared tmpfs ro"));
  ASSERT_EQ(Set({Folder(false)}), "");
  EXPECT_FALSE(IsReadOnly());
  EXPECT_EQ(ReadFile(absl::StrCat(kTarget, "/file")), "kept") << "it was never unmounted";
}

TEST_F(SharedFolders, StayWritableUnderAWriterWhoIsNamed) {
  ASSERT_EQ(Set({Folder(false)}), "");
  Sit([] { return std::freopen("/home/shared/log", "w", stderr) != nullptr; });
  EXPECT_THAT(Set({Folder(true)}), HasSubstr(absl::StrCat("in use by pid ", sitting_)));
  EXPECT_FALSE(IsReadOnly());
  LetGo();
  EXPECT_EQ(Set({Folder(true)}), "");
  EXPECT_TRUE(IsReadOnly());
}

TEST_F(SharedFolders, ThatSomebodyElseMountedAreLeftAsTheyAre) {
  std::filesystem::create_directories(kTarget);
  ASSERT_EQ(mount("rum-share", kTarget, "tmpfs", 0, nullptr), 0);
  EXPECT_THAT(Set({Folder(true)}), HasSubstr("it is left as it is"));
  EXPECT_FALSE(IsReadOnly());
}

TEST_F(SharedFolders, ThatGoWhileSomebodyIsInThereAreNamedWithHim) {
  ASSERT_EQ(Set({Folder(false)}), "");
  Sit([] { return chdir(kTarget) == 0; });
  EXPECT_EQ(Set({}), "");
  EXPECT_THAT(stale_problem_, HasSubstr(absl::StrCat("in use by pid ", sitting_)));
  LetGo();
  EXPECT_EQ(Set({}), "");
  EXPECT_EQ(stale_problem_, "");
  EXPECT_EQ(MountedAt(ParseMountInfo(ReadFile("/proc/self/mountinfo")), kTarget), nullptr);
}

}  // namespace
}  // namespace rum::guest
