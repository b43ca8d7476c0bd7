// Disks of a running machine, through the whole loop: what goes live of a change, in which order,
// and what waits for which reason.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "controller/base/failpoint.h"
#include "tests/controller/fake_world.h"

namespace rum {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

std::string DriveTable(const std::string& name, const std::string& size) {
  return absl::StrCat("[drives.", name, "]\nsize = \"", size, "\"\n");
}
std::string FsTable(const std::string& type, const std::string& drive, const std::string& target) {
  return absl::StrCat("[[fs.", type, "]]\ndrive = \"", drive, "\"\ntarget = \"", target, "\"\n");
}

class LiveDisks : public testing::Test {
 protected:
  LiveDisks() {
    world_.guest->drives["rum.root"].set_size(20ULL << 30);
    world_.guest->drives["rum-a"].set_size(1 << 30);
    Write(DriveTable("a", "1G") + FsTable("ext4", "a", "/data"));
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
  // What runs and what the next start brings are the file's.
  void ExpectLive(const Seen& seen) {
    EXPECT_FALSE(seen.outcome.failed) << seen.outcome.error << testing::PrintToString(seen.failed);
    EXPECT_THAT(Reasons(seen), IsEmpty());
    const DomainState domain = Domain();
    EXPECT_EQ(domain.live.DebugString(), domain.persistent.DebugString());
    EXPECT_EQ(ApplyNow().outcome.actions, 0) << "twice is once";
  }
  static std::vector<std::string> Reasons(const Seen& seen) {
    std::vector<std::string> reasons;
    for (const Change& change : seen.outcome.plan.waiting()) {
      reasons.push_back(absl::StrCat(change.field(), ": ", change.reason()));
    }
    return reasons;
  }

  FakeWorld world_;
  std::unique_ptr<Machine> machine_;
  size_t before_ = 0;
};

TEST_F(LiveDisks, ANewDriveIsPluggedInAndItsFilesystemMounted) {
  Write(world_.file.more + DriveTable("b", "2G") + FsTable("xfs", "b", "/b"));
  ExpectLive(ApplyNow());
  EXPECT_THAT(Changes(), ElementsAre("plug b", "adopt filesystems"));
  EXPECT_THAT(world_.guest->mounted, ElementsAre("/b", "/data"));
}

TEST_F(LiveDisks, GrowWithWhatIsOnThem) {
  std::string text = world_.file.Toml();
  text.replace(text.find("memory_mb"), 0, "disk = \"30G\"\n");
  text.replace(text.find("size = \"1G\""), 11, "size = \"3G\"");
  world_.SaveText(text);
  const Seen seen = ApplyNow();
  ExpectLive(seen);
  EXPECT_THAT(Changes(), testing::UnorderedElementsAre("grow a", "grow "));
  EXPECT_EQ(world_.guest->drives["rum-a"].size(), 3ULL << 30);
  EXPECT_THAT(seen.done, Contains(HasSubstr("Grew the root disk 20G → 30G")));
}

TEST_F(LiveDisks, ThatGrewBeforeTheControllerDiedGetTheirFilesystemsGrown) {
  Write(DriveTable("a", "3G") + FsTable("ext4", "a", "/data"));
  ASSERT_FALSE(ApplyNow().outcome.failed);
  world_.guest->drives["rum-a"].set_grows(true);
  const Seen seen = ApplyNow();
  EXPECT_THAT(seen.done, ElementsAre("Grew the filesystem of drive a"));
  EXPECT_FALSE(world_.guest->drives["rum-a"].grows());
}

TEST_F(LiveDisks, ThatGrewBeforeTheyAreMountedGetTheirFilesystemsGrownThen) {
  Write(DriveTable("a", "1G"));
  ExpectLive(ApplyNow());
  Write(DriveTable("a", "3G") + FsTable("ext4", "a", "/data"));
  EventSink sink;
  std::vector<std::string> done;
  sink.result = [&](const ActionResult& result) {
    done.push_back(result.message());
    const std::lock_guard<std::mutex> guard(world_.guest->mutex);
    if (result.action().has_set_storage()) world_.guest->drives["rum-a"].set_grows(true);
  };
  const ApplyOutcome outcome = machine_->Apply(ApplyOptions(), sink);
  EXPECT_FALSE(outcome.failed) << outcome.error;
  EXPECT_THAT(done, Contains("Grew the filesystem of drive a"));
  EXPECT_FALSE(world_.guest->drives["rum-a"].grows());
}

TEST_F(LiveDisks, WithRoomThatRumDidNotMakeAreLeftAsTheyAre) {
  world_.guest->drives["rum-a"].set_grows(true);
  EXPECT_EQ(ApplyNow().outcome.actions, 0);
}

TEST_F(LiveDisks, WhoseFilesystemCannotGrowWaitForTheRestartWithTheReason) {
  world_.guest->drives["rum-a"].set_cannot_grow("the guest has no resize2fs");
  Write(DriveTable("a", "3G") + FsTable("ext4", "a", "/data"));
  const Seen seen = ApplyNow();
  EXPECT_FALSE(seen.outcome.failed);
  EXPECT_THAT(Reasons(seen), ElementsAre("drives.a.size: the guest has no resize2fs"));
  EXPECT_THAT(Changes(), IsEmpty());
  EXPECT_EQ(Domain().persistent.drives().at("a").size(), 3ULL << 30);
}

TEST_F(LiveDisks, ADriveThatLeftTheFileIsUnmountedThenUnplugged) {
  Write("");
  ExpectLive(ApplyNow());
  EXPECT_THAT(Changes(), ElementsAre("adopt filesystems", "unplug a"));
  EXPECT_THAT(world_.guest->mounted, IsEmpty());
}

TEST_F(LiveDisks, ADriveInUseStaysAndSaysByWhomUntilItIsFree) {
  world_.guest->busy["/data"] = "pid 812 (vim)";
  world_.guest->drives["rum-a"].set_used("mounted at /data, in use by pid 812 (vim)");
  Write("");
  const Seen seen = ApplyNow();
  EXPECT_FALSE(seen.outcome.failed) << seen.outcome.error;
  EXPECT_THAT(Reasons(seen), testing::UnorderedElementsAre(
                                 "drives.a: in use: mounted at /data, in use by pid 812 (vim)",
                                 "storage: in use by pid 812 (vim)"));
  EXPECT_THAT(Changes(), Not(Contains("unplug a")));
  EXPECT_THAT(world_.guest->mounted, ElementsAre("/data"));
  EXPECT_TRUE(Domain().persistent.drives().empty()) << "any restart takes it out";
  EXPECT_EQ(ApplyNow().outcome.actions, 0) << "it waits";

  world_.guest->busy.clear();
  world_.guest->drives["rum-a"].set_used("");
  ExpectLive(ApplyNow());
  EXPECT_THAT(Changes(), Contains("unplug a"));
}

TEST_F(LiveDisks, WhatSomebodyUnpluggedIsPutBack) {
  ASSERT_EQ(world_.hypervisor->ChangeDisk(world_.identity, {DiskChange::kUnplug, "a", {}}),
            absl::OkStatus());
  ExpectLive(ApplyNow());
  EXPECT_THAT(Changes(), ElementsAre("unplug a", "plug a"));
}

TEST_F(LiveDisks, UnderAnOlderAgentAllWaitForTheRestart) {
  world_.guest->drives.clear();
  Write(DriveTable("b", "2G") + FsTable("xfs", "b", "/b"));
  const Seen seen = ApplyNow();
  EXPECT_FALSE(seen.outcome.failed);
  EXPECT_THAT(Reasons(seen), testing::Each(HasSubstr("of an older rum")));
  EXPECT_THAT(Reasons(seen), testing::SizeIs(4));
  EXPECT_THAT(Changes(), IsEmpty());
  EXPECT_THAT(world_.guest->mounted, ElementsAre("/data"));
}

TEST_F(LiveDisks, BeyondThePortsWaitForTheRestartWithTheirFilesystems) {
  world_.hypervisor->SetPorts(PlugPorts{1, 14});
  ASSERT_FALSE(machine_->Down({}).failed);
  ASSERT_FALSE(ApplyNow(Up()).outcome.failed);
  before_ = world_.hypervisor->Changes().size();
  Write(world_.file.more + DriveTable("b", "1G") + DriveTable("c", "1G") +
        FsTable("xfs", "c", "/c"));
  const Seen seen = ApplyNow();
  EXPECT_FALSE(seen.outcome.failed) << seen.outcome.error;
  const std::string why = ": no free PCIe port (14 are reserved at start)";
  EXPECT_THAT(Reasons(seen), testing::UnorderedElementsAre("drives.c" + why, "fs.xfs" + why));
  EXPECT_THAT(Changes(), ElementsAre("plug b"));
}

TEST_F(LiveDisks, WaitWhereNothingIsToGoLive) {
  ApplyOptions no_live;
  no_live.no_live = true;
  Write(DriveTable("a", "3G") + FsTable("ext4", "a", "/data"));
  EXPECT_THAT(Reasons(ApplyNow(no_live)), testing::SizeIs(1));
  EXPECT_THAT(Changes(), IsEmpty());
  ExpectLive(ApplyNow());
}

TEST_F(LiveDisks, ASmallerOneNeedsANewDiskAsEver) {
  Write(DriveTable("a", "512M") + FsTable("ext4", "a", "/data"));
  const Seen seen = ApplyNow();
  ASSERT_EQ(seen.outcome.plan.waiting_size(), 1);
  EXPECT_EQ(seen.outcome.plan.waiting(0).effect(), RECREATE);
  EXPECT_THAT(Changes(), IsEmpty());
}

struct Crash {};

TEST(LiveDisksCrash, BetweenAnyTwoStepsIsCompletedByTheNextRound) {
  const std::vector<std::function<std::string()>> edits = {
      [] { return DriveTable("a", "2G") + DriveTable("b", "1G") + FsTable("xfs", "b", "/b"); },
      [] { return DriveTable("b", "4G") + FsTable("xfs", "b", "/b"); },
      [] { return std::string(); }};
  int cut = 0;
  for (bool crashed = true; crashed; ++cut) {
    ASSERT_LT(cut, 100);
    crashed = false;
    FakeWorld world;
    world.guest->drives["rum.root"].set_size(20ULL << 30);
    world.guest->drives["rum-a"].set_size(1 << 30);
    world.file.more = DriveTable("a", "1G") + FsTable("ext4", "a", "/data");
    world.Save();
    ASSERT_FALSE(Apply(*world.NewMachine(), Up()).outcome.failed);
    int passed = 0;
    for (const auto& edit : edits) {
      world.file.more = edit();
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
      // A guest sees what was plugged in by itself.
      const DomainState crashed_one = *world.hypervisor->Inspect(world.identity);
      for (const auto& [name, drive] : crashed_one.live.drives()) {
        agent::DriveState& seen = world.guest->drives["rum-" + name];
        seen.set_size(std::max(seen.size(), drive.size()));
      }
      const Seen seen = Apply(*world.NewMachine());
      EXPECT_FALSE(seen.outcome.failed) << cut << seen.outcome.error;
      EXPECT_TRUE(seen.outcome.plan.waiting().empty())
          << cut << seen.outcome.plan.ShortDebugString();
      const DomainState domain = *world.hypervisor->Inspect(world.identity);
      EXPECT_EQ(domain.live.DebugString(), domain.persistent.DebugString()) << cut;
    }
    EXPECT_THAT(world.guest->mounted, IsEmpty());
  }
  EXPECT_GE(cut, 20);
}

}  // namespace
}  // namespace rum
