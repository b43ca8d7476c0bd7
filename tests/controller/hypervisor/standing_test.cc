// Who stands on which file, and which files may go.
#include "controller/hypervisor/standing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "controller/hypervisor/backing_chain.h"
#include "controller/hypervisor/disk_places.h"
#include "controller/hypervisor/named_paths.h"

namespace rum {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

using Paths = std::set<std::string>;

Use Domain(const std::string& name, const Paths& paths) {
  return {"domain " + name, false, paths, {}};
}
Use File(const std::string& path, const Paths& below) { return {path, true, below, {}}; }

TEST(JudgeRemoval, WhatIsOursAndUnderNobodyGoes) {
  const Removable judged = JudgeRemoval({"/a", "/b"}, {"/a", "/b"}, {{Domain("x", {"/c"})}, {}});
  EXPECT_THAT(judged.go, ElementsAre("/a", "/b"));
  EXPECT_THAT(judged.stay, IsEmpty());
}

TEST(JudgeRemoval, WhatIsNotOursStaysWhateverItsNameIs) {
  const Removable judged =
      JudgeRemoval({"/d.root.1.qcow2", "/d.root.1-backup.qcow2"}, {"/d.root.1.qcow2"}, {});
  EXPECT_THAT(judged.go, ElementsAre("/d.root.1.qcow2"));
  EXPECT_EQ(judged.stay.at("/d.root.1-backup.qcow2"), "rum did not make it");
}

TEST(JudgeRemoval, WhatSomebodyStandsOnStaysAndHeIsNamed) {
  const Uses uses = {{Domain("x", {"/a"}), File("/c.s1", {"/c"}), File("/c", {})}, {}};
  const Removable judged = JudgeRemoval({"/a", "/b", "/c"}, {"/a", "/b", "/c"}, uses);
  EXPECT_THAT(judged.go, ElementsAre("/b"));
  EXPECT_EQ(judged.stay.at("/a"), "domain x stands on it");
  EXPECT_EQ(judged.stay.at("/c"), "/c.s1 stands on it");
}

TEST(JudgeRemoval, WhatIsNamedInArgumentsOfQemuIsStoodOn) {
  Use use = Domain("x", {});
  use.words = {"file=/pool/a.qcow2,if=virtio"};
  EXPECT_THAT(JudgeRemoval({"/pool/a.qcow2"}, {"/pool/a.qcow2"}, {{use}, {}}).go, IsEmpty());
}

TEST(JudgeRemoval, WhereItCannotBeAskedNothingGoes) {
  const Removable judged = JudgeRemoval({"/a"}, {"/a"}, {{}, {"storage pool x: no reason"}});
  EXPECT_THAT(judged.go, IsEmpty());
  EXPECT_THAT(judged.stay.at("/a"), HasSubstr("storage pool x: no reason"));
}

TEST(JudgeRemoval, OfAChainThatIsOursTheTopmostGoesFirst) {
  const Uses uses = {{File("/base", {}), File("/mid", {"/base"}), File("/top", {"/base", "/mid"})},
                     {}};
  const Paths all = {"/base", "/mid", "/top"};
  EXPECT_THAT(JudgeRemoval(all, all, uses).go, ElementsAre("/top", "/mid", "/base"));
  EXPECT_THAT(JudgeRemoval({"/base", "/mid"}, all, uses).go, IsEmpty()) << "/top stays";
}

// In any world: at no moment of the removal does anybody miss a file, and nothing foreign goes.
TEST(JudgeRemoval, NothingThatIsStoodOnOrForeignIsEverRemoved) {
  EXPECT_TRUE(rc::check([] {
    const auto files = rc::gen::map(rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 8)),
                                    [](const auto& numbers) {
                                      Paths paths;
                                      for (int number : numbers)
                                        paths.insert("/f" + std::to_string(number));
                                      return paths;
                                    });
    const Paths wanted = *files;
    const Paths own = *files;
    Uses uses;
    for (int i = 0; i < 8; ++i) {
      // Layers stand on files of smaller numbers: there is no ring.
      Paths below;
      for (const std::string& path : *files) {
        if (path < "/f" + std::to_string(i)) below.insert(path);
      }
      uses.all.push_back(File("/f" + std::to_string(i), below));
    }
    for (int i = *rc::gen::inRange(0, 3); i > 0; --i) uses.all.push_back(Domain("x", *files));
    Paths there = {"/f0", "/f1", "/f2", "/f3", "/f4", "/f5", "/f6", "/f7"};
    const Removable judged = JudgeRemoval(wanted, own, uses);
    for (const std::string& path : judged.go) {
      RC_ASSERT(wanted.count(path) == 1u && own.count(path) == 1u);
      for (const Use& use : uses.all) {
        if (use.file && there.count(use.by) == 0) continue;  // it went before
        RC_ASSERT(use.paths.count(path) == 0u || use.by == path);
      }
      there.erase(path);
    }
    for (const std::string& path : wanted) {
      const bool goes = std::count(judged.go.begin(), judged.go.end(), path) == 1;
      RC_ASSERT(goes != (judged.stay.count(path) == 1));
    }
  }));
}

constexpr char kSnapshotTaken[] =
    R"(<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <metadata><rum:machine xmlns:rum='https://rum.dev/xmlns/domain/1'><rum:volume path='/p/old'/></rum:machine></metadata>
  <os><loader>/usr/share/OVMF.fd</loader><nvram>/var/nvram/x.fd</nvram></os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/><source file='/p/root.s1'/>
      <backingStore type='file'><format type='qcow2'/><source file='/p/root'/>
        <backingStore type='file'><format type='raw'/><source file='/base'/><backingStore/></backingStore>
      </backingStore>
      <target dev='vda'/>
    </disk>
    <disk type='block' device='disk'>
      <driver name='qemu' type='raw'/><source dev='/dev/vg/lv'/><target dev='vdb'/>
      <mirror type='file' job='copy'><format type='qcow2'/><source file='/p/copy'/></mirror>
    </disk>
    <disk type='volume' device='disk'>
      <driver name='qemu' type='qcow2'/><source pool='default' volume='v'/><target dev='vdc'/>
    </disk>
    <interface type='network'><source network='lan'/></interface>
  </devices>
  <qemu:commandline><qemu:arg value='file=/p/arg,if=none'/></qemu:commandline>
</domain>)";

TEST(NamedPaths, AreAllThatADefinitionNamesButItsMetadata) {
  const auto named = ReadNamedPaths(kSnapshotTaken);
  ASSERT_TRUE(named.ok()) << named.status();
  EXPECT_THAT(named->paths,
              UnorderedElementsAre("/usr/share/OVMF.fd", "/var/nvram/x.fd", "/p/root.s1", "/p/root",
                                   "/base", "/dev/vg/lv", "/p/copy"));
  EXPECT_THAT(named->words, Contains("file=/p/arg,if=none"));
  EXPECT_THAT(named->layers, UnorderedElementsAre("/p/root.s1", "/p/root", "/p/copy"));
  EXPECT_THAT(named->volumes, ElementsAre(std::make_pair("default", "v")));
  EXPECT_THAT(named->networks, ElementsAre("lan"));
  EXPECT_FALSE(ReadNamedPaths("no xml").ok());
}

TEST(NamedPaths, OfASnapshotAreItsDisksAndThoseOfTheDomainAsItWas) {
  const auto named = ReadNamedPaths(R"(<domainsnapshot><name>s1</name>
    <disks><disk name='vda' snapshot='external' type='file'>
      <driver type='qcow2'/><source file='/p/root.s1'/></disk></disks>
    <domain><devices><disk type='file'><source file='/p/root'/></disk></devices></domain>
    <inactiveDomain><devices><disk type='file'><source file='/p/other'/></disk></devices>
    </inactiveDomain></domainsnapshot>)");
  ASSERT_TRUE(named.ok());
  EXPECT_THAT(named->paths, UnorderedElementsAre("/p/root.s1", "/p/root", "/p/other"));
}

TEST(LiveDisks, HaveTheirChainsAndTheirJobs) {
  const auto disks = ReadLiveDisks(kSnapshotTaken);
  ASSERT_TRUE(disks.ok());
  EXPECT_THAT(disks->at("/p/root.s1").chain, UnorderedElementsAre("/p/root", "/base"));
  EXPECT_FALSE(disks->at("/p/root.s1").job);
  EXPECT_TRUE(disks->at("/dev/vg/lv").job);
}

DomainFacts Facts(const std::string& root, const std::string& data) {
  DomainFacts facts;
  facts.root_path = root;
  facts.drive_paths["data"] = data;
  return facts;
}

TEST(PlacesNow, AreTheDefinitionsWhereNothingRuns) {
  const auto places = PlacesNow(Facts("/r.s1", "/d.s1"), std::nullopt, {});
  ASSERT_TRUE(places.ok());
  EXPECT_EQ(places->root, "/r.s1");
  EXPECT_EQ(places->drives.at("data"), "/d.s1");
  EXPECT_EQ(PlacesNow(std::nullopt, std::nullopt, {})->root, "");
}

TEST(PlacesNow, FollowALayerThatOnlyRuns) {
  const auto places = PlacesNow(Facts("/r", "/d"), Facts("/r.s1", "/d"),
                                {{"/r.s1", {{"/r", "/base"}, false}}, {"/d", {}}});
  ASSERT_TRUE(places.ok()) << places.status();
  EXPECT_EQ(places->root, "/r.s1");
}

TEST(PlacesNow, SayWhatCannotBeFollowed) {
  const auto back = PlacesNow(Facts("/r", "/d.s1"), Facts("/r", "/d"), {});
  EXPECT_EQ(back.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(back.status().message()),
              HasSubstr("the disk of drive data is /d in the running machine and /d.s1 in its"));
  const auto job = PlacesNow(Facts("/r", "/d"), Facts("/r", "/d"), {{"/r", {{}, true}}});
  EXPECT_EQ(job.status().code(), absl::StatusCode::kAborted);
  const auto network = PlacesNow(Facts("/r", ""), std::nullopt, {});
  EXPECT_THAT(std::string(network.status().message()), HasSubstr("the disk of drive data"));
}

TEST(PlacesNow, KnowADriveThatRunsButLeftTheDefinition) {
  DomainFacts defined;
  defined.root_path = "/r";
  EXPECT_EQ(PlacesNow(defined, Facts("/r", "/d.s1"), {})->drives.at("data"), "/d.s1");
}

class Chain : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::canonical(testing::TempDir()) / "chain";
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  std::string At(const std::string& name) { return (folder_ / name).string(); }
  void Make(const std::string& words) {
    const std::string line = "cd " + folder_.string() + " && qemu-img create -q -f qcow2 " + words;
    ASSERT_EQ(std::system(line.c_str()), 0) << line;
  }
  std::filesystem::path folder_;
};

TEST_F(Chain, IsReadFromTheImagesThemselves) {
  Make("base 1M");
  Make("-b base -F qcow2 relative");
  Make("-b " + At("relative") + " -F qcow2 'with space'");
  Make("-o data_file=data apart 1M");
  EXPECT_THAT(*FilesBelow(At("base")), IsEmpty());
  EXPECT_THAT(*FilesBelow(At("relative")), ElementsAre(At("base")));
  EXPECT_THAT(*FilesBelow(At("with space")), ElementsAre(At("relative")));
  EXPECT_THAT(*FilesBelow(At("apart")), ElementsAre(At("data")));
}

TEST_F(Chain, OfWhatCannotBeReadIsAnErrorThatNamesIt) {
  EXPECT_THAT(std::string(FilesBelow(At("none")).status().message()), HasSubstr(At("none")));
  EXPECT_FALSE(ReadFilesBelow("{").ok());
}

TEST_F(Chain, TwoNamesOfAFileAreOne) {
  std::ofstream(At("file")) << "x";
  std::filesystem::create_symlink("file", At("link"));
  EXPECT_EQ(RealPath(At("link"), false), At("file"));
  EXPECT_EQ(RealPath(At("link"), true), At("link")) << "another host's";
  EXPECT_EQ(RealPath(At("a/../b"), true), At("b"));
}

}  // namespace
}  // namespace rum
