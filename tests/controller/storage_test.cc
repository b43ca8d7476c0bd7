#include "controller/aspects/storage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/controller/fake_world.h"
#include "tests/controller/model.h"

namespace rum {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

DomainState Domain() {
  DomainState domain;
  domain.running = true;
  Fs* pair = (*domain.live.mutable_fs())["btrfs"].add_entries();
  pair->add_drives("b");
  pair->add_drives("c");
  pair->set_mode("raid1");
  pair->set_target("/pair");
  Fs* one = (*domain.live.mutable_fs())["ext4"].add_entries();
  one->set_drive("a");
  one->set_target("/data");
  Mount* mount = domain.live.add_mounts();
  mount->set_source("/home/me/src");
  mount->set_target("/src");
  mount->set_readonly(true);
  return domain;
}

TEST(VolumesOf, AreTheDefinitionsFilesystemsAndSharedFoldersByTarget) {
  const std::vector<agent::Volume> volumes = VolumesOf(Domain());
  ASSERT_EQ(volumes.size(), 3u);
  EXPECT_THAT(volumes[0].serials(), ElementsAre("rum-a"));
  EXPECT_THAT(volumes[1].serials(), ElementsAre("rum-b", "rum-c"));
  EXPECT_EQ(volumes[1].mode(), "raid1");
  EXPECT_EQ(volumes[2].type(), "9p");
  EXPECT_EQ(volumes[2].tag(), "src");
  EXPECT_TRUE(volumes[2].readonly());
  EXPECT_EQ(FieldOf(volumes[0]), "fs.ext4[/data]");
  EXPECT_EQ(FieldOf(volumes[2]), "mounts[/src]");
  DomainState system = Domain();
  system.virtiofs = true;
  EXPECT_EQ(VolumesOf(system)[2].type(), "virtiofs");
}

TEST(PlanOfStorage, MakesWhatDoesNotHoldAndDropsWhatIsNobodys) {
  Model model = Converged(SampleConfig());
  model.observed.domain.live.mutable_fs()->swap(*Domain().live.mutable_fs());
  for (const char* target : {"/data", "/pair"}) {
    agent::VolumeState* state = model.observed.guest->add_volumes();
    state->set_target(target);
    state->set_holds(target == std::string("/data"));
  }
  model.observed.guest->add_stale_targets("/old");
  const Plan plan = model.MakePlan();
  EXPECT_THAT(Names(plan), ElementsAre("storage +/pair -/old"));
  EXPECT_EQ(plan.actions(0).set_storage().volumes_size(), 2) << "the whole set";
}

class Storage : public testing::Test {
 protected:
  Storage() {
    world_.file.more =
        "[drives.a]\nsize = \"1G\"\n[[fs.ext4]]\ndrive = \"a\"\ntarget = \"/data\"\n";
    world_.Save();
  }
  FakeWorld world_;
};

TEST_F(Storage, IsMountedBeforeAnyScriptRuns) {
  std::unique_ptr<Machine> machine = world_.NewMachine();
  const Seen seen = Apply(*machine, Up());
  EXPECT_FALSE(seen.outcome.failed) << seen.outcome.error;
  EXPECT_THAT(world_.guest->mounted, ElementsAre("/data"));
  world_.ExpectConverged();
}

TEST_F(Storage, ThatCannotBeMountedHoldsTheScriptsBackAndNothingElse) {
  world_.guest->broken["/data"] = "drive rum-a (/dev/vdb) holds xfs, not ext4";
  const Seen seen = Apply(*world_.NewMachine(), Up());
  EXPECT_TRUE(seen.outcome.failed);
  EXPECT_THAT(world_.guest->executed, IsEmpty());
  EXPECT_EQ(world_.guest->hostname, world_.file.hostname);
  world_.guest->broken.clear();
  EXPECT_FALSE(Apply(*world_.NewMachine(), Up()).outcome.failed);
  EXPECT_THAT(world_.guest->executed, testing::SizeIs(2));
}

TEST_F(Storage, OfARemovedFilesystemIsUnmountedAfterTheRestart) {
  Apply(*world_.NewMachine(), Up());
  world_.file.more = "[drives.a]\nsize = \"1G\"\n";
  world_.Save();
  std::unique_ptr<Machine> machine = world_.NewMachine();
  Apply(*machine);
  EXPECT_THAT(world_.guest->mounted, ElementsAre("/data")) << "it needs a restart";
  ASSERT_FALSE(machine->Down({}).failed);
  Apply(*machine, Up());
  EXPECT_THAT(world_.guest->mounted, IsEmpty());
}

}  // namespace
}  // namespace rum
