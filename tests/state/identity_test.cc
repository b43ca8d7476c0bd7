#include "state/identity.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace rum {
namespace {

namespace fs = std::filesystem;

class Identity : public testing::Test {
 protected:
  void SetUp() override {
    top_ = fs::canonical(testing::TempDir()) / "identity";
    fs::remove_all(top_);
    fs::create_directories(top_ / "one");
    fs::create_directories(top_ / "two");
  }
  void TearDown() override { fs::remove_all(top_); }

  fs::path top_;
};

TEST_F(Identity, TheFileGivesTheName) {
  EXPECT_EQ(IdentityOf(top_ / "one/rum.toml")->name, "one");
  EXPECT_EQ(IdentityOf(top_ / "one/dev.rum.toml")->name, "dev");
  EXPECT_EQ(IdentityOf(top_ / "one/my.toml")->name, "my");
  EXPECT_EQ(IdentityOf(top_ / "one/a.b.toml")->name, "a.b");
}

TEST_F(Identity, EqualNamesInTwoProjectsAreTwoMachines) {
  const auto one = IdentityOf(top_ / "one/dev.rum.toml");
  const auto two = IdentityOf(top_ / "two/dev.rum.toml");
  EXPECT_EQ(one->name, two->name);
  EXPECT_NE(one->id, two->id);
  EXPECT_NE(one->domain_name(), two->domain_name());
}

TEST_F(Identity, EveryWayToTheFileIsTheSameMachine) {
  const std::string id = IdentityOf(top_ / "one/rum.toml")->id;
  EXPECT_EQ(id.size(), 12u);
  EXPECT_EQ(IdentityOf(top_ / "two/../one/rum.toml")->id, id);
  fs::create_directory_symlink(top_ / "one", top_ / "link");
  EXPECT_EQ(IdentityOf(top_ / "link/rum.toml")->id, id);
  const fs::path before = fs::current_path();
  fs::current_path(top_ / "one");
  EXPECT_EQ(IdentityOf("rum.toml")->id, id);
  EXPECT_EQ(IdentityOf("./rum.toml")->id, id);
  fs::current_path(before);
}

TEST_F(Identity, AFileThatIsALinkIsNotResolved) {
  std::ofstream(top_ / "real.conf") << "x";
  const auto before = IdentityOf(top_ / "one/rum.toml");
  fs::create_symlink("../real.conf", top_ / "one/rum.toml");
  fs::create_symlink("../real.conf", top_ / "two/rum.toml");
  const auto one = IdentityOf(top_ / "one/rum.toml");
  const auto two = IdentityOf(top_ / "two/rum.toml");
  ASSERT_TRUE(one.ok()) << "whatever the target is called: " << one.status();
  EXPECT_EQ(one->name, "one");
  EXPECT_EQ(one->config_path, (top_ / "one/rum.toml").string());
  EXPECT_EQ(one->id, before->id);
  EXPECT_NE(two->id, one->id) << "two projects with one file are two machines";
  fs::remove(top_ / "one/rum.toml");
  fs::create_symlink("/nix/store/0123-rum.toml", top_ / "one/rum.toml");
  EXPECT_EQ(IdentityOf(top_ / "one/rum.toml")->id, one->id) << "an exchanged link, to nowhere";
}

TEST_F(Identity, KnowsTheIdThatALinkHadWhenItWasResolved) {
  EXPECT_EQ(IdThroughLink(top_ / "one/rum.toml"), "");
  std::ofstream(top_ / "two/dev.toml") << "x";
  EXPECT_EQ(IdThroughLink(top_ / "two/dev.toml"), "") << "no link";
  fs::create_symlink("../two/dev.toml", top_ / "one/rum.toml");
  EXPECT_EQ(IdThroughLink(top_ / "one/rum.toml"), IdentityOf(top_ / "two/dev.toml")->id);
}

TEST_F(Identity, OnePathCanGiveSeveralIds) {
  EXPECT_EQ(NewMachineId("/p/rum.toml"), Sha256Hex("/p/rum.toml").substr(0, 12));
  EXPECT_NE(NewMachineId("/p/rum.toml", 1), NewMachineId("/p/rum.toml"));
  EXPECT_NE(NewMachineId("/p/rum.toml", 1), NewMachineId("/p/rum.toml1"));
  EXPECT_NE(NewMachineId("/p/rum.toml", 1), NewMachineId("/p/rum.toml", 2));
}

TEST_F(Identity, IsTheSameWhetherTheFileIsThereOrGone) {
  const std::string gone = IdentityOf(top_ / "one/rum.toml")->id;
  std::ofstream(top_ / "one/rum.toml") << "x";
  EXPECT_EQ(IdentityOf(top_ / "one/rum.toml")->id, gone);
}

TEST_F(Identity, AnyFolderNameGivesAMachineName) {
  for (const auto& [folder, name] : {std::pair("my app", "my-app"), std::pair("...", "rum"),
                                     std::pair("Ünï", "n--"), std::pair("-x", "x")}) {
    fs::create_directories(top_ / folder);
    const auto identity = IdentityOf(top_ / folder / "rum.toml");
    ASSERT_TRUE(identity.ok()) << folder;
    EXPECT_EQ(identity->name, name) << folder;
  }
  const fs::path longest = top_ / std::string(200, 'l');
  fs::create_directories(longest);
  EXPECT_EQ(IdentityOf(longest / "rum.toml")->name.size(), 63u);
}

TEST_F(Identity, RefusesNamesThatAreNone) {
  for (const char* file : {"rum.yaml", ".toml", "-x.toml", "a b.toml", ".rum.toml"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(IdentityOf(top_ / "one" / file).status())) << file;
  }
  EXPECT_TRUE(absl::IsNotFound(IdentityOf(top_ / "three/rum.toml").status()));
}

TEST_F(Identity, HashesAreSha256) {
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_F(Identity, FoldersFollowTheXdgVariables) {
  for (const char* name :
       {"RUM_STATE_DIR", "RUM_RUNTIME_DIR", "RUM_DATA_DIR", "RUM_CACHE_DIR", "XDG_STATE_HOME",
        "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_CACHE_HOME"}) {
    unsetenv(name);
  }
  setenv("HOME", "/home/ada", 1);
  EXPECT_EQ(StateDir(), "/home/ada/.local/state/rum");
  EXPECT_EQ(RuntimeDir(), "/home/ada/.local/state/rum/run");
  EXPECT_EQ(DataDir(), "/home/ada/.local/share/rum");
  EXPECT_EQ(CacheDir(), "/home/ada/.cache/rum");
  setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
  EXPECT_EQ(RuntimeDir(), "/run/user/7/rum");
  setenv("RUM_RUNTIME_DIR", "/r", 1);
  EXPECT_EQ(RuntimeDir(), "/r");
}

}  // namespace
}  // namespace rum
