#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controller/base/failpoint.h"
#include "tests/controller/fake_world.h"

namespace rum {
namespace {

struct Crash {};

// The controller dies at the `cut`-th failpoint that it passes.
class CrashAt {
 public:
  explicit CrashAt(int cut) {
    SetFailpointHook([this, cut](const std::string&) {
      if (passed_++ == cut) throw Crash();
    });
  }
  ~CrashAt() { SetFailpointHook(nullptr); }

 private:
  int passed_ = 0;
};

// Applies with a crash at `cut`; false when the apply ended before it. What was in memory is gone
// either way.
bool ApplyAndCrash(FakeWorld& world, const ApplyOptions& options, int cut) {
  CrashAt crash(cut);
  std::unique_ptr<Machine> machine = world.NewMachine();
  try {
    Apply(*machine, options);
  } catch (const Crash&) {
    return true;
  }
  return false;
}

// A disk on which the `nth` save is the last: power goes before it is there, or after.
class CutStore : public MemoryStateStore {
 public:
  CutStore(std::shared_ptr<MemoryDisk> disk, int nth, bool saved)
      : MemoryStateStore(std::move(disk)), nth_(nth), saved_(saved) {}
  absl::Status Save(const MachineRecord& record) override {
    const bool last = saves_++ == nth_;
    if (last && !saved_) throw Crash();
    absl::Status status = MemoryStateStore::Save(record);
    if (last) throw Crash();
    return status;
  }

 private:
  const int nth_;
  const bool saved_;
  int saves_ = 0;
};

TEST(Crash, InAnySaveOfAFirstUpEndsInAWholeMachineWhetherItCameToTheDiskOrNot) {
  for (const bool saved : {false, true}) {
    int nth = 0;
    for (bool crashed = true; crashed; ++nth) {
      ASSERT_LT(nth, 40);
      FakeWorld world;
      world.KeepIn(std::make_unique<CutStore>(world.disk, nth, saved));
      crashed = ApplyAndCrash(world, Up(), -1);
      world.KeepIn(std::make_unique<MemoryStateStore>(world.disk));
      std::unique_ptr<Machine> machine = world.NewMachine();
      EXPECT_FALSE(Apply(*machine, Up()).outcome.failed);
      world.ExpectConverged();
      EXPECT_EQ(world.guest->TimesRun("boot 1"), 1) << nth;
      EXPECT_EQ(world.guest->TimesRun("system 1"), 1) << nth;
      EXPECT_EQ(world.hypervisor->DisksMade(world.identity), 1) << nth;
      EXPECT_EQ(Apply(*machine).outcome.actions, 0) << nth;
    }
    EXPECT_GE(nth, 3);
  }
}

TEST(Crash, AtAnyPointOfAReloadLosesAndRepeatsNothing) {
  int cut = 0;
  for (bool crashed = true; crashed; ++cut) {
    ASSERT_LT(cut, 40);
    FakeWorld world;
    Apply(*world.NewMachine(), Up());
    world.guest->groups.insert("byhand");
    world.file.ports = {{8080, 80}, {3000, 3000}};
    world.file.hostname = "devbox";
    world.file.groups = {"docker", "video"};
    world.file.boot = "boot 2";
    world.file.system = "system 2";
    world.file.memory_mb = 2048;
    world.Save();
    ApplyOptions force;
    force.force = true;
    crashed = ApplyAndCrash(world, force, cut);
    std::unique_ptr<Machine> machine = world.NewMachine();
    const Seen seen = Apply(*machine, force);
    EXPECT_FALSE(seen.outcome.failed) << seen.outcome.error;
    world.ExpectConverged();
    EXPECT_EQ(world.guest->groups, (std::set<std::string>{"byhand", "docker", "video"})) << cut;
    EXPECT_EQ(world.guest->TimesRun("boot 2"), 1) << cut;
    EXPECT_EQ(world.guest->TimesRun("system 2"), 1) << cut;
    EXPECT_EQ(world.Record().generation(), 2) << cut;
    // Ownership survived as well: what the crashed run added can be taken away.
    world.file.groups = {};
    world.Save();
    Apply(*machine);
    EXPECT_EQ(world.guest->groups, (std::set<std::string>{"byhand"})) << cut;
  }
  EXPECT_GE(cut, 13) << "six actions, cut before and after each, and the record";
}

TEST(Crash, AtAnyPointOfAFirstUpEndsInAWholeMachine) {
  int cut = 0;
  for (bool crashed = true; crashed; ++cut) {
    ASSERT_LT(cut, 40);
    FakeWorld world;
    crashed = ApplyAndCrash(world, Up(), cut);
    std::unique_ptr<Machine> machine = world.NewMachine();
    EXPECT_FALSE(Apply(*machine, Up()).outcome.failed);
    world.ExpectConverged();
    EXPECT_EQ(world.guest->TimesRun("boot 1"), 1) << cut;
    EXPECT_EQ(world.guest->TimesRun("system 1"), 1) << cut;
    EXPECT_EQ(world.hypervisor->DisksMade(world.identity), 1) << cut;
    EXPECT_EQ(Apply(*machine).outcome.actions, 0) << cut;
  }
  EXPECT_GE(cut, 15);
}

}  // namespace
}  // namespace rum
