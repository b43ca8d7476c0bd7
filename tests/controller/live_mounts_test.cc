// Shared folders of a running machine, through the whole loop: what comes and goes live of a
// change, in which order, and what waits for which reason.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "controller/base/failpoint.h"
#include "tests/controller/fake_world.h"

namespace rum {
namespace {

using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::UnorderedElementsAre;

std::string MountTable(const std::string& source, const std::string& target,
                       const std::string& more = "") {
  return absl::StrCat("[[mounts]]\nsource = \"", source, "\"\ntarget = \"", target, "\"\n", more);
}

void MakeFolders(const FakeWorld& world) {
  for (const char* name : {"one", "two", "three"})
    std::filesystem::create_directory(world.folder() + "/" + name);
}

class LiveMounts : public testing::Test {
 protected:
  LiveMounts() {
    MakeFolders(world_);
    world_.guest->knows_shares = true;
    Start(MountTable("one", "/src"));
  }
  void Start(const std::string& more) {
    Write(more);
    if (machine_ != nullptr) EXPECT_FALSE(machine_->Down({}).failed);
    machine_ = world_.NewMachine();
    EXPECT_FALSE(Apply(*machine_, Up()).outcome.failed);
    before_ = world_.hypervisor->Changes().size();
  }
  void Write(const std::string& more) {
    world_.file.more = more;
    world_.Save();
  }
  Seen ApplyNow(const ApplyOptions& options = ApplyOptions()) { return Apply(*machine_, options); }
  // Since the machine came up, but for definitions.
  std::vector<std::string> Changes() {
    std::vector<std::string> changes = world_.hypervisor->Changes();
    changes.erase(changes.begin(), changes.begin() + static_cast<ptrdiff_t>(before_));
    changes.erase(std::remove(changes.begin(), changes.end(), "define"), changes.end());
    return changes;
  }
  DomainState Domain() { return *world_.hypervisor->Inspect(world_.identity); }
  // What runs and what the next start brings are the file's, and so is the guest.
  void ExpectLive(const Seen& seen) {
    EXPECT_FALSE(seen.outcome.failed) << seen.outcome.error << testing::PrintToString(seen.failed);
    EXPECT_THAT(Reasons(seen), IsEmpty());
    const DomainState domain = Domain();
    EXPECT_EQ(domain.live.DebugString(), domain.persistent.DebugString());
    EXPECT_THAT(domain.leaving_folders, IsEmpty());
    EXPECT_EQ(ApplyNow().outcome.actions, 0) << "twice is once";
    const MachineStatus status = machine_->Status();
    for (const Item& item : status.items())
      EXPECT_EQ(item.state(), Item::HOLDS) << item.ShortDebugString();
  }
  static std::vector<std::string> Reasons(const Seen& seen) {
    std::vector<std::string> reasons;
    for (const Change& change : seen.outcome.plan.waiting()) {
      reasons.push_back(absl::StrCat(change.field(), ": ", change.reason()));
    }
    return reasons;
  }
  void ExpectWaits(const std::string& reason) {
    const DomainState before = Domain();
    const Seen seen = ApplyNow();
    EXPECT_FALSE(seen.outcome.failed) << seen.outcome.error;
    EXPECT_THAT(Reasons(seen), Not(IsEmpty()));
    EXPECT_THAT(Reasons(seen), Each(HasSubstr(reason)));
    EXPECT_THAT(Changes(), IsEmpty());
    EXPECT_EQ(Domain().live.DebugString(), before.live.DebugString());
    EXPECT_NE(Domain().persistent.DebugString(), before.live.DebugString())
        << "the next start has it";
  }

  FakeWorld world_;
  std::unique_ptr<Machine> machine_;
  size_t before_ = 0;
};

TEST_F(LiveMounts, ANewFolderIsSharedAndMounted) {
  Write(world_.file.more + MountTable("two", "/two"));
  const Seen seen = ApplyNow();
  ExpectLive(seen);
  EXPECT_THAT(Changes(), ElementsAre("attach two"));
  EXPECT_THAT(world_.guest->mounted, ElementsAre("/src", "/two"));
  EXPECT_THAT(seen.done, Contains(HasSubstr("/two at /two")));
}

TEST_F(LiveMounts, TheFirstOneToo) {
  Start("");
  Write(MountTable("one", "/src"));
  ExpectLive(ApplyNow());
  EXPECT_THAT(world_.guest->mounted, ElementsAre("/src"));
}

TEST_F(LiveMounts, OneThatLeftTheFileIsUnmountedThenDetached) {
  Write("");
  ExpectLive(ApplyNow());
  EXPECT_THAT(Changes(), ElementsAre("adopt mounts", "detach src"));
  EXPECT_THAT(world_.guest->mounted, IsEmpty());
}

TEST_F(LiveMounts, AnotherFolderTakesItsPlace) {
  Write(MountTable("two", "/src"));
  ExpectLive(ApplyNow());
  EXPECT_THAT(Changes(), ElementsAre("adopt mounts", "detach src", "attach src"));
  EXPECT_THAT(world_.guest->mounted, ElementsAre("/src"));
}

TEST_F(LiveMounts, AnotherPlaceOfTheSameFolderAndTagIsTheGuestsAlone) {
  Start(MountTable("one", "/src", "tag = \"code\"\n"));
  Write(MountTable("one", "/work", "tag = \"code\"\n"));
  ExpectLive(ApplyNow());
  EXPECT_THAT(Changes(), ElementsAre("adopt mounts"));
  EXPECT_THAT(world_.guest->mounted, ElementsAre("/work"));
}

TEST_F(LiveMounts, WhatIsTheGuestsAndTheHostsAloneTouchesNoDevice) {
  Write(MountTable("one", "/src", "readonly = true\ndefault = true\n"));
  ExpectLive(ApplyNow());
  EXPECT_THAT(Changes(), ElementsAre("adopt mounts"));
}

TEST_F(LiveMounts, PlacesAreExchanged) {
  Start(MountTable("one", "/a", "tag = \"x\"\n") + MountTable("two", "/b", "tag = \"y\"\n"));
  Write(MountTable("one", "/b", "tag = \"x\"\n") + MountTable("two", "/a", "tag = \"y\"\n"));
  ExpectLive(ApplyNow());
  EXPECT_THAT(Changes(), Each("adopt mounts"));
  EXPECT_THAT(world_.guest->mounted, ElementsAre("/a", "/b"));
}

TEST_F(LiveMounts, ManyChangesAtOnceUnmountNothingElse) {
  Start(MountTable("one", "/a") + MountTable("two", "/b"));
  world_.guest->busy["/b"] = "pid 812 (vim)";
  Write(MountTable("three", "/c") + MountTable("two", "/b") + MountTable("one", "/d"));
  ExpectLive(ApplyNow());
  EXPECT_THAT(Changes(), UnorderedElementsAre("adopt mounts", "detach a", "attach c", "attach d"));
  EXPECT_THAT(world_.guest->mounted, ElementsAre("/b", "/c", "/d"));
}

TEST_F(LiveMounts, OneInUseStaysAsItIsAndSaysByWhomUntilItIsFree) {
  world_.guest->busy["/src"] = "pid 812 (vim)";
  for (const std::string& more : {std::string(), MountTable("two", "/src")}) {
    Write(more);
    ExpectWaits("in use: mounted at /src, in use by pid 812 (vim)");
    EXPECT_THAT(world_.guest->mounted, ElementsAre("/src"));
  }
  EXPECT_EQ(ApplyNow().outcome.actions, 0) << "it waits";
  world_.guest->busy.clear();
  ExpectLive(ApplyNow());
}

TEST_F(LiveMounts, OneThatAContainerHasStays) {
  world_.guest->mounted_elsewhere["src"] = "pid 900 (postgres)";
  Write("");
  ExpectWaits("in use: mounted where pid 900 (postgres) runs");
}

// A process came in between the look and the unmounting.
TEST_F(LiveMounts, OneThatIsUsedAgainAfterItsMountWasDroppedStaysAndSaysSo) {
  ASSERT_EQ(
      world_.hypervisor->ChangeFolder(world_.identity, {FolderChange::kMounts, "", {"src"}, {}}),
      absl::OkStatus());
  world_.guest->mounted_elsewhere["src"] = "pid 900 (postgres)";
  Write("");
  const Seen seen = ApplyNow();
  EXPECT_THAT(Reasons(seen), ElementsAre("mounts: in use: mounted where pid 900 (postgres) runs"));
  EXPECT_THAT(Domain().leaving_folders, testing::SizeIs(1));
  world_.guest->mounted_elsewhere.clear();
  ExpectLive(ApplyNow());
}

TEST_F(LiveMounts, WhatSomebodyTookAwayComesBackAndItsDeadMountGoes) {
  ASSERT_EQ(
      world_.hypervisor->ChangeFolder(world_.identity, {FolderChange::kDetach, "src", {}, {}}),
      absl::OkStatus());
  world_.guest->busy["/src"] = "pid 812 (vim)";  // in a folder that answers nothing
  const Item item = [&] {
    ApplyOptions look;
    look.dry_run = true;
    ApplyNow(look);
    const MachineStatus status = machine_->Status();
    for (const Item& one : status.items()) {
      if (one.field() == "mounts[/src]") return one;
    }
    return Item();
  }();
  EXPECT_EQ(item.moved_by(), Item::LIBVIRT) << item.ShortDebugString();
  const Seen seen = ApplyNow();
  ExpectLive(seen);
  EXPECT_THAT(Changes(), Contains("attach src"));
  EXPECT_THAT(world_.guest->mounted, ElementsAre("/src"));
}

TEST_F(LiveMounts, SomebodyElsesFolderOfThatTagIsLeftAloneAndSoAreItsMounts) {
  world_.hypervisor->EditLive(world_.identity,
                              [](DomainState* domain) { domain->others_tags = {"two"}; });
  world_.guest->mounted_elsewhere["two"] = "pid 900 (postgres)";
  Write(world_.file.more + MountTable("two", "/two"));
  ExpectWaits("a folder that somebody else shares with the machine has the tag two");
}

TEST_F(LiveMounts, UnderAnOlderAgentTheyWaitForTheRestart) {
  world_.guest->knows_shares = false;
  Write(world_.file.more + MountTable("two", "/two"));
  ExpectWaits("of an older rum");
}

TEST_F(LiveMounts, OfAGuestWithoutVirtiofsTheyWaitForTheRestart) {
  world_.guest->has_virtiofs = false;
  Write(world_.file.more + MountTable("two", "/two"));
  ExpectWaits("the guest's kernel has no virtiofs");
}

TEST_F(LiveMounts, WaitWhereTheMachineCannotTakeThemWithTheReason) {
  const std::vector<std::pair<Sharing, std::string>> reasons = {
      {Sharing::kNotBy9p, "9p cannot be hot-plugged; qemu:///system can"},
      {Sharing::kNoSharedMemory, "started without shared memory"},
      {Sharing::kNoCgroup, "no cgroup"}};
  for (const auto& [sharing, reason] : reasons) {
    world_.hypervisor->SetSharing(sharing);
    Start(MountTable("one", "/src"));
    Write(world_.file.more + MountTable("two", "/two"));
    ExpectWaits(reason);
    Write("");
    ExpectWaits(reason);
  }
}

// The device stays as it is.
TEST_F(LiveMounts, Of9pGoElsewhereInTheGuestAllTheSame) {
  world_.hypervisor->SetSharing(Sharing::kNotBy9p);
  Start(MountTable("one", "/src", "tag = \"code\"\n"));
  Write(MountTable("one", "/work", "tag = \"code\"\n"));
  ExpectLive(ApplyNow());
  EXPECT_THAT(world_.guest->mounted, ElementsAre("/work"));
  Write(MountTable("one", "/work", "tag = \"code\"\nreadonly = true\n"));
  before_ = world_.hypervisor->Changes().size();
  ExpectWaits("9p cannot be hot-plugged");
}

TEST_F(LiveMounts, BeyondThePortsWaitBehindDrives) {
  world_.hypervisor->SetPorts(PlugPorts{2, 14});
  world_.guest->drives["rum.root"].set_size(20ULL << 30);
  Start("");
  Write("[drives.a]\nsize = \"1G\"\n" + MountTable("one", "/one") + MountTable("two", "/two"));
  const Seen seen = ApplyNow();
  EXPECT_FALSE(seen.outcome.failed) << seen.outcome.error;
  EXPECT_THAT(Reasons(seen),
              ElementsAre("mounts[/two]: no free PCIe port (14 are reserved at start)"));
  EXPECT_THAT(Changes(), ElementsAre("plug a", "attach one"));
}

TEST_F(LiveMounts, WaitWhereNothingIsToGoLive) {
  ApplyOptions no_live;
  no_live.no_live = true;
  Write(world_.file.more + MountTable("two", "/two"));
  EXPECT_THAT(Reasons(ApplyNow(no_live)), testing::SizeIs(1));
  EXPECT_THAT(Changes(), IsEmpty());
  ExpectLive(ApplyNow());
}

TEST_F(LiveMounts, OutsideOfTheProjectNeedTheUsersWordFirst) {
  Write(world_.file.more + MountTable("/", "/host"));
  const Seen seen = ApplyNow();
  EXPECT_FALSE(seen.outcome.failed) << seen.outcome.error;
  EXPECT_THAT(Changes(), IsEmpty());
  EXPECT_THAT(world_.guest->mounted, ElementsAre("/src"));
  EXPECT_EQ(Domain().persistent.mounts_size(), 1);
  ExpectLive(ApplyNow(Trusting(*machine_)));
  EXPECT_THAT(world_.guest->mounted, ElementsAre("/host", "/src"));
}

struct Crash {};

TEST(LiveMountsCrash, BetweenAnyTwoStepsIsCompletedByTheNextRound) {
  const std::vector<std::string> edits = {
      MountTable("one", "/src") + MountTable("two", "/two"),
      MountTable("three", "/src") + MountTable("two", "/two", "readonly = true\n"),
      MountTable("one", "/work", "tag = \"src\"\n"), ""};
  int cut = 0;
  for (bool crashed = true; crashed; ++cut) {
    ASSERT_LT(cut, 200);
    crashed = false;
    FakeWorld world;
    MakeFolders(world);
    world.guest->knows_shares = true;
    world.file.more = MountTable("one", "/src");
    world.Save();
    ASSERT_FALSE(Apply(*world.NewMachine(), Up()).outcome.failed);
    int passed = 0;
    for (const std::string& edit : edits) {
      world.file.more = edit;
      world.Save();
      SetFailpointHook([&](const std::string&) {
        if (passed++ == cut) throw Crash();
      });
      try {
        Apply(*world.NewMachine());
      } catch (const Crash&) {
        crashed = true;
      }
      SetFailpointHook(nullptr);
      const Seen seen = Apply(*world.NewMachine());
      EXPECT_FALSE(seen.outcome.failed) << cut << seen.outcome.error;
      EXPECT_TRUE(seen.outcome.plan.waiting().empty())
          << cut << seen.outcome.plan.ShortDebugString();
      const DomainState domain = *world.hypervisor->Inspect(world.identity);
      EXPECT_EQ(domain.live.DebugString(), domain.persistent.DebugString()) << cut;
      EXPECT_THAT(domain.leaving_folders, IsEmpty()) << cut;
    }
    EXPECT_THAT(world.guest->mounted, IsEmpty());
  }
  EXPECT_GE(cut, 20);
}

}  // namespace
}  // namespace rum
