#include "state/paths.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "state/names.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

class Paths : public testing::Test {
 protected:
  void SetUp() override {
    top_ = fs::canonical(testing::TempDir()) / "paths";
    fs::remove_all(top_);
    fs::create_directories(top_ / "repo/.git");
    fs::create_directories(top_ / "repo/a/b");
  }
  void TearDown() override { fs::remove_all(top_); }

  std::string Source(const std::string& source) {
    Config config;
    config.add_mounts()->set_source(source);
    ResolvePaths(top_ / "repo/a/rum.toml", &config);
    return config.mounts(0).source();
  }
  std::string Base(const std::string& base) {
    Config config;
    config.mutable_image()->set_base(base);
    ResolvePaths(top_ / "repo/a/rum.toml", &config);
    return config.image().base();
  }
  static std::string Tag(const std::string& target) {
    Config config;
    config.add_mounts()->set_target(target);
    ResolvePaths("/p/rum.toml", &config);
    return config.mounts(0).tag();
  }

  fs::path top_;
};

TEST_F(Paths, OfASocketIsTheNameItselfInTheFolderThatItIsIn) {
  const auto bind = [this](const std::string& text) {
    Config config;
    config.add_ports()->set_bind(text);
    ResolvePaths(top_ / "repo/a/rum.toml", &config);
    return config.ports(0).bind();
  };
  setenv("HOME", top_.c_str(), 1);
  const std::string there = "unix:" + (top_ / "repo/a/app.sock").string();
  fs::create_symlink("elsewhere", top_ / "repo/a/app.sock");
  fs::create_directory_symlink("../a", top_ / "repo/a/here");
  for (const char* text :
       {"unix:app.sock", "unix:./app.sock", "unix:b/../app.sock", "unix:here/app.sock"}) {
    EXPECT_EQ(bind(text), there) << text;
  }
  EXPECT_EQ(bind(there), there);
  EXPECT_EQ(bind("unix:~/x.sock"), "unix:" + (top_ / "x.sock").string());
  EXPECT_EQ(bind("unix:new/x.sock"), "unix:" + (top_ / "repo/a/new/x.sock").string());
  for (const char* folder : {"unix:.", "unix:..", "unix:b/", "unix:/"})
    EXPECT_EQ(bind(folder).back(), '/') << folder;
  EXPECT_EQ(bind("unix:"), "unix:");
  EXPECT_EQ(bind("::1"), "::1");
}

TEST_F(Paths, AreRelativeToTheFile) {
  EXPECT_EQ(Source("."), top_ / "repo/a");
  EXPECT_EQ(Source("b"), top_ / "repo/a/b");
  EXPECT_EQ(Source(".."), top_ / "repo");
  EXPECT_EQ(Source("/etc"), "/etc");
}

TEST_F(Paths, TildeIsTheHome) {
  setenv("HOME", "/home/ada", 1);
  EXPECT_EQ(Source("~/src"), "/home/ada/src");
  EXPECT_EQ(Source("~"), "/home/ada");
  EXPECT_EQ(Base("~/i.qcow2"), "/home/ada/i.qcow2");
}

TEST_F(Paths, GitIsTheTopOfTheRepository) { EXPECT_EQ(Source("git"), top_ / "repo"); }

TEST_F(Paths, ImagesArePathsOnlyWhereTheyLookLikeOne) {
  EXPECT_EQ(Base("./debian-12"), top_ / "repo/a/debian-12");
  EXPECT_EQ(Base("debian-12"), "debian-12");
  EXPECT_EQ(Base("https://example.org/x.qcow2"), "https://example.org/x.qcow2");
  std::ofstream(top_ / "repo/a/mine.qcow2") << "x";
  EXPECT_EQ(Base("mine.qcow2"), top_ / "repo/a/mine.qcow2");
}

TEST_F(Paths, DifferentTargetsHaveDifferentTagsThatVirtioTakes) {
  EXPECT_EQ(Tag("/src"), "src");
  EXPECT_EQ(Tag("/home/ada"), "home-ada");
  EXPECT_NE(Tag("/a/b"), Tag("/a-b"));
  EXPECT_NE(Tag("/ä"), Tag("/ö"));
  EXPECT_TRUE(rc::check([] {
    const auto segment = rc::gen::nonEmpty(rc::gen::container<std::string>(
        rc::gen::element('a', 'b', '-', '.', '/', ' ', '\'', '"', '\xc3')));
    const std::string one = "/" + *segment;
    const std::string two = "/" + *segment;
    RC_ASSERT(Tag(one).size() <= 36u);
    RC_ASSERT(!Tag(one).empty());
    RC_ASSERT((one == two) == (Tag(one) == Tag(two)));
  }));
}

TEST_F(Paths, EveryMachineNameGivesAHostname) {
  EXPECT_EQ(HostnameFrom("dev"), "dev");
  EXPECT_EQ(HostnameFrom("a.b_c"), "a-b-c");
  EXPECT_EQ(HostnameFrom("x."), "x");
  EXPECT_EQ(HostnameFrom(std::string(62, 'a') + "." + "b").size(), 62u);
  EXPECT_EQ(HostnameFrom("2024"), "rum-2024");
  EXPECT_EQ(HostnameFrom("0x10"), "rum-0x10");
  EXPECT_EQ(HostnameFrom("localhost"), "rum-localhost");
  EXPECT_EQ(HostnameFrom("1.2.3.4"), "1-2-3-4");
  EXPECT_EQ(HostnameFrom("my_project.v2"), "my-project-v2");
  EXPECT_EQ(HostnameFrom(std::string(70, '1')), "rum-" + std::string(59, '1'));
  for (const std::string& name :
       {std::string(70, 'x'), std::string("..."), std::string("_"), std::string(64, '9')}) {
    EXPECT_EQ(HostnameProblem(HostnameFrom(name)), "") << name;
  }
}

}  // namespace
}  // namespace rum
