#include "controller/fleet/machine_key.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "state/names.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using testing::EndsWith;
using testing::HasSubstr;

mode_t ModeOf(const fs::path& path) {
  struct stat info {};
  EXPECT_EQ(stat(path.c_str(), &info), 0) << path;
  return info.st_mode & 0777;
}

class MachineKeyTest : public testing::Test {
 protected:
  MachineKeyTest() {
    std::string folder = std::string(std::getenv("TEST_TMPDIR")) + "/keys.XXXXXX";
    folder_ = mkdtemp(folder.data());
    umask(0);  // whatever the user's is
  }
  ~MachineKeyTest() override {
    umask(022);
    fs::remove_all(folder_);
  }

  fs::path folder_;
  const MachineIdentity dev_ = {"/p/dev.rum.toml", "dev", "aaaabbbbcccc"};
  const MachineIdentity other_ = {"/p/my.toml", "my", "aaaabbbbcccd"};
};

TEST_F(MachineKeyTest, IsMadeOnceAndPrivate) {
  const MachineKeys keys(folder_ / "keys");
  EXPECT_EQ(keys.Find(dev_), "");
  const absl::StatusOr<std::string> made = keys.Make(dev_);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_TRUE(IsOpenSshKey(*made)) << *made;
  EXPECT_THAT(*made, EndsWith(" rum-dev-aaaabbbbcccc"));
  EXPECT_EQ(keys.Find(dev_), *made);
  EXPECT_EQ(*keys.Make(dev_), *made);
  EXPECT_NE(*keys.Make(other_), *made);
  EXPECT_EQ(ModeOf(keys.PrivatePath(dev_)), 0600u);
  EXPECT_EQ(ModeOf(folder_ / "keys"), 0700u);
  EXPECT_EQ(ModeOf(folder_ / "keys" / dev_.id), 0700u);
}

TEST_F(MachineKeyTest, SaysWhatTheProgramSaidThatMakesThem) {
  const std::string bin = folder_ / "bin";
  fs::create_directory(bin);
  std::ofstream(bin + "/ssh-keygen")
      << "#!/bin/sh\necho 'Saving key failed: disk full' >&2\nexit 1\n";
  fs::permissions(bin + "/ssh-keygen", fs::perms::owner_all);
  const std::string path = getenv("PATH");
  setenv("PATH", bin.c_str(), 1);
  const absl::StatusOr<std::string> made = MachineKeys(folder_ / "keys").Make(dev_);
  fs::remove(bin + "/ssh-keygen");
  const absl::StatusOr<std::string> missing = MachineKeys(folder_ / "keys").Make(dev_);
  setenv("PATH", path.c_str(), 1);
  EXPECT_THAT(std::string(made.status().message()), EndsWith(": Saving key failed: disk full"));
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr("openssh-client"));
}

TEST_F(MachineKeyTest, RemoveTakesOneMachinesAloneAndTheFolderWithTheLast) {
  const MachineKeys keys(folder_ / "keys");
  ASSERT_TRUE(keys.Make(dev_).ok() && keys.Make(other_).ok());
  fs::create_directory(folder_ / "keys" / (dev_.id + ".new-killed"));
  EXPECT_TRUE(*keys.Remove(dev_));
  EXPECT_FALSE(*keys.Remove(dev_));
  EXPECT_NE(keys.Find(other_), "");
  EXPECT_TRUE(*keys.Remove(other_));
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(MachineKeyTest, HalfAKeyIsMadeAnew) {
  const MachineKeys keys(folder_ / "keys");
  ASSERT_TRUE(keys.Make(dev_).ok());
  fs::remove(folder_ / "keys" / dev_.id / "id_ed25519.pub");
  ASSERT_TRUE(keys.Make(dev_).ok());
  EXPECT_EQ(ModeOf(keys.PrivatePath(dev_)), 0600u);
  EXPECT_NE(keys.Find(dev_), "");
}

TEST_F(MachineKeyTest, AFolderThatCannotBeWrittenIsAnErrorThatNamesIt) {
  std::ofstream(folder_ / "file") << "not a folder";
  const MachineKeys keys(folder_ / "file" / "keys");
  EXPECT_THAT(std::string(keys.Make(dev_).status().message()),
              testing::HasSubstr((folder_ / "file" / "keys").string()));
}

TEST_F(MachineKeyTest, WithoutAFolderThereAreNoKeys) {
  const MachineKeys keys("");
  EXPECT_EQ(*keys.Make(dev_), "");
  EXPECT_EQ(keys.Find(dev_), "");
  EXPECT_FALSE(*keys.Remove(dev_));
}

}  // namespace
}  // namespace rum
