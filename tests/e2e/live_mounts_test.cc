// Folders of the host that come and go while a machine runs, seen from inside, while a connection
// and a running program live through all of it.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "tests/e2e/live_world.h"

namespace rum::e2e {
namespace {

namespace fs = std::filesystem;

std::string Shared(const std::string& source, const std::string& target,
                   const std::string& more = "") {
  return "[[mounts]]\nsource = \"" + source + "\"\ntarget = \"" + target + "\"\n" + more;
}

class LiveMounts : public LiveTest {
 protected:
  static void SetUpTestSuite() {
    Begin();
    for (const char* name : {"one", "two"}) {
      fs::create_directory(OnHost(name));
      std::ofstream(OnHost(name) + "/file") << "of the host: " << name << "\n";
    }
  }

  static std::string OnHost(const std::string& name) {
    return world_->folder() + "/project/" + name;
  }
  static std::string Read(const std::string& path) {
    std::ostringstream bytes;
    bytes << std::ifstream(path).rdbuf();
    return bytes.str();
  }
  // "/src virtiofs ro" and the like, sorted.
  static std::string Mounts() {
    return world_->Guest(
        "findmnt -rno TARGET,FSTYPE,OPTIONS -t virtiofs | sed 's/,.*//' | LC_ALL=C sort | "
        "tr '\\n' ';'");
  }
  // Of the running machine or of its next start.
  static size_t Folders(bool next) {
    std::vector<std::string> words = {"dumpxml", world_->DomainName()};
    if (next) words.push_back("--inactive");
    const std::string xml = world_->Virsh(words).out;
    size_t count = 0;
    for (size_t at = 0; (at = xml.find("<filesystem ", at)) != std::string::npos; ++at) ++count;
    return count;
  }
};

TEST_F(LiveMounts, ADryRunSaysWhichWayItGoesBeforeItGoes) {
  const std::string said = ReloadWith(Shared("one", "/src"), {"--dry-run"});
  EXPECT_TRUE(Contains(said, "share " + OnHost("one") + " at /src")) << said;
  EXPECT_FALSE(Contains(said, "restart")) << said;
  EXPECT_TRUE(Contains(ReloadWith(Shared("one", "/src"), {"--dry-run", "--no-live"}), "restart"));
}

TEST_F(LiveMounts, FoldersAreSharedAndReadAndWrittenFromBothSides) {
  BringLive(Shared("one", "/src") + Shared("two", "/two", "readonly = true\n"));
  EXPECT_EQ(Mounts(), "/src virtiofs rw;/two virtiofs ro;");
  EXPECT_EQ(world_->Guest("cat /src/file /two/file"), "of the host: one\nof the host: two");
  world_->Guest("echo of the guest > /src/back");
  EXPECT_EQ(Read(OnHost("one/back")), "of the guest\n");
  std::ofstream(OnHost("one/later")) << "later";
  EXPECT_EQ(world_->Guest("cat /src/later"), "later");
  EXPECT_EQ(world_->Guest("touch /two/no 2>/dev/null || echo refused"), "refused");
  EXPECT_FALSE(fs::exists(OnHost("two/no")));
}

TEST_F(LiveMounts, OneIsOnlyToBeReadFromNowOnUnderWhoIsInThere) {
  const std::string pid = Sit("/src");
  BringLive(Shared("one", "/src", "readonly = true\n") + Shared("two", "/two"));
  EXPECT_EQ(Mounts(), "/src virtiofs ro;/two virtiofs rw;");
  EXPECT_EQ(world_->Guest("touch /src/no 2>/dev/null || echo refused; touch /two/yes"), "refused");
  EXPECT_TRUE(fs::exists(OnHost("two/yes")));
  BringLive(Shared("one", "/src") + Shared("two", "/two"));
  world_->Guest("kill " + pid + "; touch /src/yes");
}

TEST_F(LiveMounts, AnotherFolderAndAnotherPlace) {
  BringLive(Shared("two", "/src") + Shared("one", "/elsewhere", "tag = \"code\"\n"));
  EXPECT_EQ(Mounts(), "/elsewhere virtiofs rw;/src virtiofs rw;");
  EXPECT_EQ(world_->Guest("cat /src/file /elsewhere/file"), "of the host: two\nof the host: one");
  EXPECT_EQ(Folders(false), 2u);
  // With a tag of its own, the folder stays where it is and is mounted elsewhere.
  const std::string said =
      BringLive(Shared("two", "/src") + Shared("one", "/work", "tag = \"code\"\n"));
  EXPECT_FALSE(Contains(said, "Took")) << said;
  EXPECT_EQ(Mounts(), "/src virtiofs rw;/work virtiofs rw;");
}

TEST_F(LiveMounts, OneInUseStaysAndSaysByWhomAndGoesOnceItIsFree) {
  const std::string without = Shared("one", "/work", "tag = \"code\"\n");
  const std::string pid = Sit("/src");
  const std::string said = ReloadWith(without);
  EXPECT_TRUE(Contains(said, "in use: mounted at /src, in use by pid " + pid + " (sleep)")) << said;
  EXPECT_EQ(ItemOf("mounts[/src]").state(), Item::NEEDS_RESTART);
  EXPECT_EQ(world_->Guest("cat /src/file"), "of the host: two");
  EXPECT_EQ(Folders(false), 2u);
  EXPECT_EQ(Folders(true), 1u);
  world_->Guest("kill " + pid);
  BringLive(without);
  EXPECT_EQ(Mounts(), "/work virtiofs rw;");
  EXPECT_EQ(world_->Guest("grep -c ' /src ' /etc/fstab || true"), "0");
  EXPECT_EQ(Folders(false), 1u);
}

TEST_F(LiveMounts, WhatSomebodyElseSharedStaysAndWhatHeTookAwayComesBack) {
  const std::string domain = world_->DomainName();
  const auto device = [&](const std::string& tag, const std::string& source) {
    const std::string file = world_->folder() + "/device.xml";
    std::ofstream(file) << "<filesystem type='mount' accessmode='passthrough'><driver "
                           "type='virtiofs'/><source dir='"
                        << source << "'/><target dir='" << tag << "'/></filesystem>\n";
    return file;
  };
  const Result theirs =
      world_->Virsh({"attach-device", domain, device("theirs", OnHost("two")), "--live"});
  ASSERT_EQ(theirs.exit_status, 0) << theirs.err;
  world_->Guest("mkdir -p /theirs; until mount -t virtiofs theirs /theirs; do sleep 0.1; done");
  const std::string pid = Sit("/work");
  const Result taken =
      world_->Virsh({"detach-device", domain, device("code", OnHost("one")), "--live"});
  ASSERT_EQ(taken.exit_status, 0) << taken.err;
  const Item item = ItemOf("mounts[/work]");
  EXPECT_EQ(item.state(), Item::DRIFTED) << item.ShortDebugString();
  EXPECT_EQ(item.moved_by(), Item::LIBVIRT);
  const std::string said = Reload();
  EXPECT_TRUE(Contains(said, "Shared " + OnHost("one") + " at /work")) << said;
  ExpectSilence();
  EXPECT_EQ(world_->Guest("cat /work/file /theirs/file"), "of the host: one\nof the host: two");
  world_->Guest("kill " + pid + "; umount /theirs");
  world_->Virsh({"detach-device", domain, device("theirs", OnHost("two")), "--live"});
}

TEST_F(LiveMounts, AControllerKilledBetweenTwoStepsIsNoReasonForHalfAChange) {
  const std::string work = Shared("one", "/work", "tag = \"code\"\n");
  const std::vector<std::pair<std::string, std::string>> cuts = {
      {"folder:attached", work + Shared("two", "/late")},
      {"folder:dropped", work + Shared("one", "/late")},  // another folder
      {"folder:released", work},
      {"folder:defined", work + Shared("two", "/late")},
  };
  for (const auto& [failpoint, more] : cuts) {
    world_->file.more = more;
    ReloadTwice(failpoint);
    EXPECT_EQ(Contains(Mounts(), "/late"), Contains(more, "/late")) << failpoint;
    EXPECT_EQ(Folders(false), Folders(true)) << failpoint;
  }
  EXPECT_EQ(world_->Guest("cat /late/file"), "of the host: two");
  Connect();
  ExpectUndisturbed();
}

TEST_F(LiveMounts, ARestartBringsTheSameMachine) {
  const std::string before = Mounts();
  ASSERT_EQ(world_->Rum({"restart"}).exit_status, 0);
  ExpectSilence();
  EXPECT_EQ(Mounts(), before);
  EXPECT_EQ(world_->Rum({"reload", "--exit-code"}).exit_status, 0);
}

}  // namespace
}  // namespace rum::e2e
