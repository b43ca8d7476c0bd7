// Machines whose files are moved, linked, copied and deleted, and whose libvirt is somewhere else.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <future>

#include "controller/fleet/fleet.h"
#include "controller/hypervisor/domain_xml.h"
#include "tests/controller/fake_world.h"
#include "tests/eventually.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class PlacesTest : public testing::Test {
 protected:
  PlacesTest() {
    fs::create_directory(Folder("old"));
    Write("old");
    StartController();
  }

  void StartController() {
    controller_.reset();
    controller_ = std::make_unique<Controller>(world_.Parts());
    ASSERT_TRUE(controller_->Start().ok());
  }
  std::string Folder(const std::string& name) const { return world_.folder() + "/" + name; }
  std::string File(const std::string& folder) const { return Folder(folder) + "/rum.toml"; }
  void Write(const std::string& folder) {
    fs::create_directories(Folder(folder));
    std::ofstream(File(folder)) << world_.file.Toml();
  }
  void Move(const std::string& from, const std::string& to) {
    fs::rename(Folder(from), Folder(to));
  }
  std::string Up(const std::string& folder, ApplyOptions options = {}) {
    options.up = true;
    return controller_->Apply(File(folder), options, {}).error;
  }
  std::vector<std::string> Files() {
    std::vector<std::string> files;
    for (const ListedMachine& one : controller_->List(true))
      files.push_back(
          (one.file_gone ? "gone: " : "") +
          fs::path(one.record.config_path()).lexically_relative(world_.folder()).string());
    return files;
  }
  std::string IdAt(const std::string& folder) {
    return controller_->ListOne(File(folder))->record.id();
  }
  std::string Notes(const std::string& folder, const std::string& default_uri = "") {
    std::string all;
    const auto status = controller_->Status(File(folder), &default_uri);
    EXPECT_TRUE(status.ok()) << status.status();
    for (const std::string& note : status->notes()) all += note + "\n";
    return all;
  }
  MachineStatus::Phase Phase(const std::string& folder) {
    return controller_->Status(File(folder))->phase();
  }
  MachineRecord RecordOf(const std::string& id) {
    std::lock_guard<std::mutex> lock(world_.disk->mutex);
    return world_.disk->records[id];
  }

  FakeWorld world_;
  std::unique_ptr<Controller> controller_;
};

TEST_F(PlacesTest, AMovedFolderFindsItsMachineAndAdoptsIt) {
  ASSERT_EQ(Up("old"), "");
  const std::string id = IdAt("old");
  Move("old", "new");
  for (const bool restarted : {false, true}) {
    if (restarted) StartController();
    EXPECT_THAT(Files(), ElementsAre("gone: old/rum.toml"));
    EXPECT_EQ(Phase("new"), MachineStatus::NOT_DEFINED);
    EXPECT_THAT(Notes("new"), HasSubstr("this looks like machine old (" + id +
                                        ") that was made in " + Folder("old")));
    EXPECT_THAT(Up("new"), HasSubstr("`rum adopt` takes it over"));
    EXPECT_THAT(controller_->Down(File("new"), {}).error, HasSubstr("`rum adopt`"));
    EXPECT_THAT(controller_->Destroy(File("new"), {}).error, HasSubstr("`rum adopt`"));
    EXPECT_FALSE(controller_->FindMade(File("new")).ok());
    EXPECT_THAT(Notes("old"), HasSubstr("its file is gone"));
    EXPECT_EQ(Phase("old"), MachineStatus::RUNNING) << "by where it was it can be named";
  }
  const auto from = controller_->Adopt(File("new"), "");
  ASSERT_TRUE(from.ok()) << from.status();
  EXPECT_EQ(*from, File("old"));
  EXPECT_THAT(Files(), ElementsAre("new/rum.toml"));
  EXPECT_EQ(IdAt("new"), id);
  EXPECT_EQ(Phase("new"), MachineStatus::RUNNING);
  EXPECT_EQ(Notes("new"), "");
  EXPECT_EQ(Up("new"), "");
  EXPECT_EQ(world_.hypervisor->DisksMade({"", "old", id}), 1) << "no second machine";
  StartController();
  EXPECT_EQ(IdAt("new"), id);
  EXPECT_EQ(Phase("new"), MachineStatus::RUNNING);
}

TEST_F(PlacesTest, AFolderThatWasMovedAndLeftALinkIsNoSecondMachine) {
  ASSERT_EQ(Up("old"), "");
  const std::string id = IdAt("old");
  Move("old", "new");
  fs::create_directory_symlink("new", Folder("old"));
  for (const bool restarted : {false, true}) {
    if (restarted) StartController();
    EXPECT_THAT(Up("new"), HasSubstr("`rum adopt` takes it over"));
    EXPECT_THAT(Notes("new"), HasSubstr("this looks like machine old (" + id));
  }
  ASSERT_TRUE(controller_->Adopt(File("new"), "").ok());
  EXPECT_THAT(Files(), ElementsAre("new/rum.toml"));
  EXPECT_EQ(IdAt("new"), id);
  EXPECT_EQ(Up("new"), "");
  EXPECT_EQ(world_.hypervisor->DisksMade({"", "old", id}), 1);
}

TEST_F(PlacesTest, AfterAnAdoptTheFileIsFollowedWhereItIsNow) {
  world_.file.hostname = "one";
  Write("old");
  ASSERT_EQ(Up("old"), "");
  Move("old", "new");
  ASSERT_TRUE(controller_->Adopt(File("new"), "").ok());
  world_.file.hostname = "two";
  Write("new");
  EXPECT_TRUE(Eventually([&] {
    std::lock_guard<std::mutex> lock(world_.guest->mutex);
    return world_.guest->hostname == "two";
  }));
}

TEST_F(PlacesTest, TheNameThatAMachineWasBornWithStays) {
  std::ofstream(File("old")) << "[image]\nbase = \"/images/debian.qcow2\"\n"
                                "[resources]\ncpus = 1\nmemory_mb = 512\n";
  ASSERT_EQ(Up("old"), "");
  EXPECT_EQ(world_.guest->hostname, "old");
  Move("old", "new");
  ASSERT_TRUE(controller_->Adopt(File("new"), "").ok());
  ASSERT_EQ(Up("new"), "");
  EXPECT_EQ(world_.guest->hostname, "old");
}

TEST_F(PlacesTest, AMachineWhoseFolderWasMovedGoesOnAlsoInANewController) {
  ASSERT_EQ(Up("old"), "");
  Move("old", "new");
  StartController();
  EXPECT_EQ(controller_->machines(), 1);
  EXPECT_TRUE(Eventually([&] {
    std::lock_guard<std::mutex> lock(world_.host->mutex);
    return world_.host->open.size() == 2;
  }));
  EXPECT_TRUE((*controller_->FindMade(File("old")))->access().Guest().ok());
}

TEST_F(PlacesTest, UpMakesASecondMachineWhenItIsTold) {
  ASSERT_EQ(Up("old"), "");
  const std::string id = IdAt("old");
  Move("old", "new");
  ApplyOptions options;
  options.new_machine = true;
  world_.file.ports.clear();
  Write("new");
  EXPECT_EQ(Up("new", options), "");
  EXPECT_THAT(Files(), ElementsAre("new/rum.toml", "gone: old/rum.toml"));
  EXPECT_NE(IdAt("new"), id);
  EXPECT_THAT(controller_->Adopt(File("new"), id).status().message(),
              HasSubstr("has a machine already"));
}

TEST_F(PlacesTest, ACopiedFolderIsAnotherMachine) {
  world_.file.ports.clear();
  Write("old");
  ASSERT_EQ(Up("old"), "");
  fs::copy(Folder("old"), Folder("copy"), fs::copy_options::recursive);
  EXPECT_EQ(Notes("copy"), "");
  EXPECT_THAT(controller_->Adopt(File("copy"), "").status().message(),
              HasSubstr("no machine whose file is gone"));
  EXPECT_THAT(controller_->Adopt(File("copy"), IdAt("old")).status().message(),
              HasSubstr("is still there"));
  EXPECT_EQ(Up("copy"), "");
  EXPECT_THAT(Files(), ElementsAre("copy/rum.toml", "old/rum.toml"));
}

TEST_F(PlacesTest, ADeletedFolderLeavesAMachineThatCanBeUsed) {
  ASSERT_EQ(Up("old"), "");
  fs::remove_all(Folder("old"));
  ApplyOptions options;
  EXPECT_THAT(Up("old", options), HasSubstr("cannot be read"));
  options.recorded = true;
  EXPECT_EQ(Up("old", options), "") << "by the last good configuration";
  EXPECT_EQ(controller_->Down(File("old"), {}).error, "");
  EXPECT_EQ(Up("old", options), "");
  EXPECT_EQ(Phase("old"), MachineStatus::RUNNING);
  EXPECT_EQ(controller_->Destroy(File("old"), {}).error, "");
  EXPECT_THAT(Files(), IsEmpty());
  EXPECT_THAT(controller_->Status(File("nowhere")).status().message(), HasSubstr("its folder"));
}

TEST_F(PlacesTest, WithSeveralThatMayBeMeantAdoptWantsAnId) {
  world_.file.ports.clear();
  Write("old");
  Write("older");
  ASSERT_EQ(Up("old"), "");
  ASSERT_EQ(Up("older"), "");
  const std::string id = IdAt("older");
  fs::remove_all(Folder("old"));
  fs::remove_all(Folder("older"));
  Write("new");
  const std::string both(controller_->Adopt(File("new"), "").status().message());
  EXPECT_THAT(both, HasSubstr(File("old")));
  EXPECT_THAT(both, HasSubstr(id));
  ASSERT_TRUE(controller_->Adopt(File("new"), id).ok());
  EXPECT_EQ(IdAt("new"), id);
}

TEST_F(PlacesTest, WhatIsMadeWhereAMachineCameFromIsAnother) {
  ASSERT_EQ(Up("old"), "");
  const std::string id = IdAt("old");
  Move("old", "new");
  ASSERT_TRUE(controller_->Adopt(File("new"), "").ok());
  StartController();
  world_.file.ports.clear();
  Write("old");
  EXPECT_NE(IdAt("old"), id);
  EXPECT_EQ(Up("old"), "");
  EXPECT_THAT(Files(), ElementsAre("new/rum.toml", "old/rum.toml"));
  EXPECT_EQ(Phase("new"), MachineStatus::RUNNING);
}

TEST_F(PlacesTest, AdoptNeedsAFileAndAMachine) {
  ASSERT_EQ(Up("old"), "");
  Write("new");
  fs::remove(File("new"));
  EXPECT_THAT(controller_->Adopt(File("new"), "").status().message(), HasSubstr("does not exist"));
  Write("new");
  EXPECT_THAT(controller_->Adopt(File("new"), "ffffffffffff").status().message(),
              HasSubstr("there is no machine"));
}

class LinksTest : public PlacesTest {
 protected:
  LinksTest() {
    Write("shared");
    for (const char* project : {"one", "two"}) {
      fs::create_directory(Folder(project));
      fs::create_symlink("../shared/rum.toml", File(project));
    }
  }
  // As the build that resolved links left it.
  std::string LandedMachine() {
    controller_.reset();
    MachineRecord record;
    record.set_format(1);
    record.set_id(IdentityOf(File("shared"))->id);
    record.set_name("shared");
    record.set_config_path(File("shared"));
    record.set_generation(1);
    {
      std::lock_guard<std::mutex> lock(world_.disk->mutex);
      world_.disk->records[record.id()] = record;
    }
    StartController();
    return record.id();
  }
};

TEST_F(LinksTest, TwoLinksToOneFileAreTwoMachinesAndAnExchangedLinkIsOne) {
  world_.file.ports.clear();
  Write("shared");
  ASSERT_EQ(Up("one"), "");
  EXPECT_EQ(Phase("two"), MachineStatus::NOT_DEFINED);
  ASSERT_EQ(Up("two"), "");
  EXPECT_THAT(Files(), ElementsAre("one/rum.toml", "two/rum.toml"));
  const std::string id = IdAt("one");
  Write("elsewhere");
  fs::remove(File("one"));
  fs::create_symlink("../elsewhere/rum.toml", File("one"));
  StartController();
  EXPECT_EQ(IdAt("one"), id);
  EXPECT_EQ(Phase("one"), MachineStatus::RUNNING);
}

TEST_F(LinksTest, AMachineOfABuildThatResolvedThemGoesOnAndStaysWhenTheLinkIsExchanged) {
  const std::string id = LandedMachine();
  EXPECT_EQ(IdAt("one"), id);
  ASSERT_EQ(Up("one"), "");
  EXPECT_EQ(IdAt("one"), id);
  EXPECT_THAT(Files(), ElementsAre("one/rum.toml"));
  EXPECT_NE(IdAt("two"), id) << "from here on they are two";
  Write("elsewhere");
  fs::remove(File("one"));
  fs::create_symlink("../elsewhere/rum.toml", File("one"));
  EXPECT_EQ(IdAt("one"), id);
  StartController();
  EXPECT_EQ(IdAt("one"), id);
}

TEST_F(LinksTest, SoDoesOneThatIsUsedByItsOwnPath) {
  const std::string id = LandedMachine();
  ASSERT_EQ(Up("shared"), "");
  EXPECT_EQ(IdAt("shared"), id);
  EXPECT_THAT(Files(), ElementsAre("shared/rum.toml"));
}

class UriTest : public PlacesTest {
 protected:
  UriTest() {
    for (const char* uri : {"qemu:///session", "qemu:///system"}) {
      world_.elsewhere[uri] = std::make_shared<FakeHypervisor>();
      world_.elsewhere[uri]->SetUri(uri);
    }
  }
  bool IsIn(const std::string& uri) {
    return world_.elsewhere[uri]->DisksMade(*IdentityOf(File("old"))) > 0;
  }
  std::string UpIn(const std::string& default_uri) {
    ApplyOptions options;
    options.default_uri = default_uri;
    return Up("old", options);
  }
};

TEST_F(UriTest, TheDefaultOfWhoeverMakesAMachineStays) {
  ASSERT_EQ(UpIn("qemu:///session"), "");
  EXPECT_TRUE(IsIn("qemu:///session"));
  EXPECT_EQ(Notes("old", "qemu:///session"), "");
  EXPECT_EQ(Notes("old", "qemu:///system"),
            "made in qemu:///session, and stays there; LIBVIRT_DEFAULT_URI now says "
            "qemu:///system\n");
  EXPECT_THAT(Notes("old", ""), HasSubstr("LIBVIRT_DEFAULT_URI is not set now"));
  ASSERT_EQ(UpIn("qemu:///system"), "");
  EXPECT_FALSE(IsIn("qemu:///system"));
  StartController();
  EXPECT_EQ(Phase("old"), MachineStatus::RUNNING);
  ApplyOptions reset;
  reset.reset = true;
  reset.default_uri = "qemu:///system";
  EXPECT_EQ(Up("old", reset), "");
  EXPECT_FALSE(IsIn("qemu:///system")) << "nor does a fresh disk follow the environment";
}

TEST_F(UriTest, WithoutOneItIsWhereLibvirtSaysThatItIs) {
  world_.hypervisor->SetUri("qemu:///session");
  ASSERT_EQ(UpIn(""), "");
  EXPECT_EQ(RecordOf(IdAt("old")).libvirt_uri(), "qemu:///session");
  EXPECT_EQ(Notes("old", ""), "");
  EXPECT_EQ(Notes("old", "qemu:///session"), "") << "the same by another way";
  EXPECT_THAT(Notes("old", "qemu:///system"), HasSubstr("now says qemu:///system"));
}

TEST_F(UriTest, TheFileGoesFirstAndAFreshDiskFollowsIt) {
  world_.file.more = "[advanced]\nlibvirt_uri = \"qemu:///system\"\n";
  Write("old");
  ASSERT_EQ(UpIn("qemu:///session"), "");
  EXPECT_TRUE(IsIn("qemu:///system"));
  EXPECT_EQ(Notes("old", "qemu:///session"), "") << "it is in the file";
  world_.file.more = "[advanced]\nlibvirt_uri = \"qemu:///session\"\n";
  Write("old");
  ApplyOptions reset;
  reset.reset = true;
  ASSERT_EQ(Up("old", reset), "");
  EXPECT_TRUE(IsIn("qemu:///session"));
  EXPECT_EQ(RecordOf(IdAt("old")).libvirt_uri(), "qemu:///session");
}

TEST_F(UriTest, ARecordOfABuildThatDidNotKnowTakesTheControllersDefaultAndKeepsIt) {
  world_.elsewhere[""] = world_.elsewhere["qemu:///system"];
  ASSERT_EQ(UpIn(""), "");
  const std::string id = IdAt("old");
  controller_.reset();
  {
    std::lock_guard<std::mutex> lock(world_.disk->mutex);
    world_.disk->records[id].clear_libvirt_uri();
  }
  world_.elsewhere.erase("");
  ControllerParts parts = world_.Parts();
  parts.default_uri = "qemu:///system";
  controller_ = std::make_unique<Controller>(std::move(parts));
  ASSERT_TRUE(controller_->Start().ok());
  EXPECT_EQ(Phase("old"), MachineStatus::RUNNING);
  ASSERT_EQ(controller_->Apply(File("old"), {}, {}).error, "");
  EXPECT_EQ(RecordOf(id).libvirt_uri(), "qemu:///system");
}

TEST_F(PlacesTest, TheListSaysWhatHoldsAndWhatCannotBeKnown) {
  ASSERT_EQ(Up("old"), "");
  std::vector<ListedMachine> list = controller_->List(false);
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0].unknown, "");
  EXPECT_EQ(list[0].status.phase(), MachineStatus::RUNNING);
  world_.hypervisor->FailAll(absl::UnavailableError("away"));
  list = controller_->List(false);
  ASSERT_EQ(list.size(), 1u);
  EXPECT_THAT(list[0].unknown, HasSubstr("away"));
}

// Answers when it is let.
class Hanging : public FakeHypervisor {
 public:
  absl::StatusOr<DomainState> Inspect(const MachineIdentity& machine) override {
    gate.wait();
    return FakeHypervisor::Inspect(machine);
  }
  std::promise<void> released;
  const std::shared_future<void> gate = released.get_future().share();
};

TEST_F(PlacesTest, AListDoesNotWaitForALibvirtThatHangs) {
  auto hanging = std::make_shared<Hanging>();
  world_.elsewhere["qemu:///system"] = hanging;
  ASSERT_EQ(Up("old"), "");
  ASSERT_EQ(controller_->Down(File("old"), {}).error, "");
  const std::string id = IdAt("old");
  controller_.reset();
  {
    std::lock_guard<std::mutex> lock(world_.disk->mutex);
    world_.disk->records[id].set_libvirt_uri("qemu:///system");
  }
  StartController();
  for (int time = 0; time < 2; ++time) {  // the second finds the first still waiting
    const std::vector<ListedMachine> list = controller_->List(false, absl::Milliseconds(50));
    ASSERT_EQ(list.size(), 1u);
    EXPECT_EQ(list[0].unknown, "libvirt does not answer");
    EXPECT_EQ(list[0].record.name(), "old");
  }
  hanging->released.set_value();
}

TEST_F(PlacesTest, ARenamedDomainsEventsAreHeardByItsUuid) {
  ASSERT_EQ(Up("old"), "");
  {
    std::lock_guard<std::mutex> lock(world_.guest->mutex);
    world_.guest->hostname = "typed";
  }
  world_.on_event(DomainUuid(*IdentityOf(File("old"))));
  EXPECT_TRUE(Eventually([&] {
    std::lock_guard<std::mutex> lock(world_.guest->mutex);
    return world_.guest->hostname == "dev";
  }));
}

TEST_F(PlacesTest, AMachineOfAnotherUserIsNamedAndNotTouched) {
  world_.hypervisor->FailAll(absl::PermissionDeniedError("this machine belongs to user alice"));
  EXPECT_THAT(Up("old"), HasSubstr("belongs to user alice"));
  EXPECT_EQ(Phase("old"), MachineStatus::NOT_DEFINED);
  EXPECT_EQ(controller_->Status(File("old"))->error(), "this machine belongs to user alice");
  EXPECT_THAT(controller_->Down(File("old"), {}).error, HasSubstr("alice"));
  EXPECT_THAT(controller_->Destroy(File("old"), {}).error, HasSubstr("alice"));
  EXPECT_THAT(world_.hypervisor->Changes(), IsEmpty());
}

}  // namespace
}  // namespace rum
