// vCPUs and memory: what goes live on a machine as it was started, what waits, and why.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "controller/aspects/aspects.h"
#include "state/diff.h"
#include "tests/controller/model.h"
#include "tests/fakes/hypervisor/fake_room.h"

namespace rum {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class InRoom : public testing::Test {
 protected:
  InRoom() : model_(Started(2, 4, 1024, 2048)) {}

  // A machine that runs as its file says, of which a quarter of the memory is in use.
  static Model Started(uint32_t cpus, uint32_t max_cpus, uint64_t memory_mb, uint64_t max_mb) {
    Config config = SampleConfig();
    Resources* const resources = config.mutable_resources();
    resources->set_cpus(cpus);
    resources->set_max_cpus(max_cpus);
    resources->set_memory_mb(memory_mb);
    resources->set_max_memory_mb(max_mb);
    return Converged(config);
  }
  Resources* Wanted() { return model_.desired.mutable_resources(); }
  agent::Resources* Told() { return model_.observed.guest->mutable_resources(); }
  DomainState& Domain() { return model_.observed.domain; }
  std::vector<std::string> Actions() { return Names(model_.MakePlan()); }
  // "FIELD: reason" of what waits.
  std::vector<std::string> Reasons() {
    std::vector<std::string> reasons;
    const Plan plan = model_.MakePlan();
    for (const Change& change : plan.waiting()) {
      EXPECT_EQ(change.effect(), RESTART);
      reasons.push_back(change.field() + ": " + change.reason());
    }
    return reasons;
  }
  Item ItemOf(const std::string& field) {
    const MachineStatus status = model_.Status();
    Item found;
    int count = 0;
    for (const Item& item : status.items()) {
      if (item.field() != field) continue;
      found = item;
      ++count;
    }
    EXPECT_EQ(count, 1) << field;
    return found;
  }
  void ApplyAll() {
    model_.Apply(model_.MakePlan());
    EXPECT_THAT(Actions(), IsEmpty());
    EXPECT_THAT(Reasons(), IsEmpty());
    const MachineStatus status = model_.Status();
    for (const Item& item : status.items()) {
      EXPECT_EQ(item.state(), Item::HOLDS) << item.ShortDebugString();
    }
  }

  Model model_;
};

TEST_F(InRoom, CpusGoLiveBothWaysAndThoseThatWerePluggedStay) {
  ApplyAll();
  Wanted()->set_cpus(4);
  EXPECT_THAT(Actions(), ElementsAre("resources.cpus 2 → 4"));
  EXPECT_THAT(Reasons(), IsEmpty());
  ApplyAll();
  Wanted()->set_cpus(1);
  EXPECT_THAT(Actions(), ElementsAre("resources.cpus 4 → 1"));
  ApplyAll();
  EXPECT_EQ(Domain().live.resources().cpus(), 4u);
  EXPECT_EQ(Domain().persistent.resources().cpus(), 1u);
  EXPECT_EQ(ItemOf("resources.cpus").text(), "1 vCPU") << "what the guest uses";
  EXPECT_EQ(model_.record.applied().resources().cpus(), 1u);
  Wanted()->set_cpus(3);
  EXPECT_THAT(Actions(), ElementsAre("resources.cpus 1 → 3"));
  ApplyAll();
}

TEST_F(InRoom, AnEmulatedMachineUsesMoreCpusThanItStartedWithFromTheNextStart) {
  Domain().room.plugs_cpus = false;
  Wanted()->set_cpus(1);
  ApplyAll();
  Wanted()->set_cpus(2);
  model_.Apply(model_.MakePlan());  // the definition alone: what runs has two
  ApplyAll();
  Wanted()->set_cpus(3);
  EXPECT_THAT(Reasons(), testing::Contains(HasSubstr("resources.cpus: QEMU may die of a vCPU")));
  EXPECT_EQ(ItemOf("resources.cpus").state(), Item::NEEDS_RESTART);
}

TEST_F(InRoom, CpusBeyondItWaitForARestartThatNamesTheRoom) {
  Wanted()->set_max_cpus(0);  // the machine has what it was started with
  Wanted()->set_cpus(5);
  EXPECT_THAT(Reasons(),
              testing::Contains("resources.cpus: room for 4 vCPUs (resources.max_cpus)"));
  EXPECT_THAT(Actions(), ElementsAre("domain: define"));
  EXPECT_THAT(ItemOf("resources.cpus").text(), HasSubstr("2 vCPUs now, 5 vCPUs at the next start"));
}

TEST_F(InRoom, AnAgentOfAnOlderRumIsAskedForNothing) {
  model_.observed.guest->clear_resources();
  Wanted()->set_cpus(3);
  Wanted()->set_memory_mb(1536);
  EXPECT_THAT(Actions(), ElementsAre("domain: define"));
  EXPECT_THAT(Reasons(), ElementsAre(HasSubstr("resources.cpus: the agent in the guest is of an"),
                                     HasSubstr("resources.memory_mb: the agent in the guest is")));
}

TEST_F(InRoom, WithoutAnAgentNothingIsAskedAndNothingWaitsForARestart) {
  Domain().live.mutable_resources()->set_cpus(4);
  FakeResize(1536, &Domain());
  model_.observed.guest.reset();
  EXPECT_THAT(Actions(), IsEmpty());
  EXPECT_THAT(Reasons(), IsEmpty());
  for (const char* field : {"resources.cpus", "resources.memory_mb"}) {
    EXPECT_EQ(ItemOf(field).state(), Item::PENDING);
    EXPECT_THAT(ItemOf(field).text(), HasSubstr("when the agent in the guest answers"));
  }
}

TEST_F(InRoom, WhoeverMovedTheCpusIsNamedAndTheyArePutRight) {
  Told()->set_cpus(1);  // echo 0 > /sys/devices/system/cpu/cpu1/online
  EXPECT_EQ(ItemOf("resources.cpus").state(), Item::DRIFTED);
  EXPECT_EQ(ItemOf("resources.cpus").moved_by(), Item::GUEST);
  EXPECT_THAT(Actions(), ElementsAre("resources.cpus 1 → 2"));
  // virsh setvcpus, and the guest's own rule brings them online.
  Domain().live.mutable_resources()->set_cpus(4);
  Told()->set_cpus(4);
  EXPECT_EQ(ItemOf("resources.cpus").moved_by(), Item::LIBVIRT);
  EXPECT_THAT(Actions(), ElementsAre("resources.cpus 4 → 2"));
  ApplyAll();
  // A reboot brings all back that are plugged.
  Told()->set_cpus(4);
  EXPECT_EQ(ItemOf("resources.cpus").moved_by(), Item::GUEST);
  ApplyAll();
}

TEST_F(InRoom, PluggedCpusThatAreNotOnlineAreNotAppliedYet) {
  Wanted()->set_cpus(4);
  Domain().live.mutable_resources()->set_cpus(4);  // killed after that
  Told()->set_cpus_there(4);
  Domain().persistent.mutable_resources()->set_cpus(4);
  EXPECT_THAT(Actions(), ElementsAre("resources.cpus 2 → 4"));
  ApplyAll();
}

TEST_F(InRoom, AKernelThatUsesFewerCpusThanItBootedWithIsLeftAlone) {
  Told()->set_cpus(1);
  Told()->set_cpus_there(1);
  EXPECT_THAT(Actions(), IsEmpty());
  EXPECT_EQ(ItemOf("resources.cpus").text(), "2 vCPUs, of which the guest's kernel uses 1");
}

TEST_F(InRoom, WithoutLiveAllWaitsAsTheSchemaSays) {
  Wanted()->set_cpus(4);
  Wanted()->set_memory_mb(2048);
  const auto expect_old_way = [&](const Plan& plan) {
    EXPECT_THAT(Names(plan), ElementsAre("domain: define"));
    ASSERT_EQ(plan.waiting_size(), 2);
    for (const Change& change : plan.waiting()) {
      EXPECT_EQ(change.reason(), ReasonOf(change.field()));
    }
  };
  PlanOptions no_live;
  no_live.live = false;
  expect_old_way(model_.MakePlan(no_live));
  model_.desired.mutable_reconcile()->set_live(false);
  expect_old_way(model_.MakePlan());
  // What was brought live before stays so.
  model_.desired.mutable_reconcile()->set_live(true);
  ApplyAll();
  Wanted()->set_cpus(1);
  ApplyAll();
  model_.desired.mutable_reconcile()->set_live(false);
  EXPECT_THAT(Actions(), IsEmpty());
  EXPECT_THAT(Reasons(), IsEmpty());
}

TEST_F(InRoom, AnotherRoomWaitsForARestart) {
  Wanted()->set_max_cpus(8);
  Wanted()->set_max_memory_mb(4096);
  EXPECT_THAT(Reasons(),
              ElementsAre("resources.max_cpus: " + ReasonOf("resources.max_cpus"),
                          "resources.max_memory_mb: " + ReasonOf("resources.max_memory_mb")));
  EXPECT_THAT(Actions(), ElementsAre("domain: define"));
}

TEST_F(InRoom, MoreThanTheFileAskedForIsNoDrift) {
  model_ = Started(2, 0, 1024, 0);
  Domain().room.cpus = 16;           // as with KVM
  Domain().room.gives_back = false;  // or of an older rum
  EXPECT_THAT(Actions(), IsEmpty());
  EXPECT_THAT(Reasons(), IsEmpty());
  ApplyAll();
}

TEST_F(InRoom, MemoryGoesLiveBothWays) {
  for (const uint64_t memory_mb : {2048, 1536, 1024, 512, 900, 1025}) {
    Wanted()->set_memory_mb(memory_mb);
    EXPECT_THAT(Actions(), ElementsAre(HasSubstr(" → " + std::to_string(memory_mb))));
    ApplyAll();
    EXPECT_EQ(model_.record.applied().resources().memory_mb(), memory_mb);
    Told()->set_available_kib((Domain().live.resources().memory_mb() - 256) * 1024);
  }
  EXPECT_EQ(Domain().live.resources().memory_mb(), 1026u) << "it comes in blocks of 2 MiB";
}

TEST_F(InRoom, MemoryBeyondItWaitsForARestartThatNamesTheRoom) {
  Wanted()->set_max_memory_mb(4096);
  Wanted()->set_memory_mb(4000);
  EXPECT_THAT(Reasons(), testing::Contains("resources.memory_mb: started with room for 2048 MiB "
                                           "(resources.max_memory_mb)"));
  EXPECT_THAT(Actions(), ElementsAre("domain: define"));
}

TEST_F(InRoom, MemoryStopsAtWhatTheGuestUses) {
  Told()->set_available_kib(400 * 1024);  // it uses 624
  Wanted()->set_memory_mb(512);
  EXPECT_THAT(Actions(), ElementsAre("resources.memory_mb 1024 → 704"));
  model_.Apply(model_.MakePlan());
  Told()->set_available_kib(80 * 1024);
  EXPECT_THAT(Actions(), IsEmpty());
  EXPECT_THAT(Reasons(), ElementsAre("resources.memory_mb: the guest uses 624 MiB of it: 704 MiB "
                                     "are left to it"));
  EXPECT_EQ(Domain().persistent.resources().memory_mb(), 512u);
  // It lets go of some.
  Told()->set_available_kib(400 * 1024);
  EXPECT_THAT(Actions(), ElementsAre("resources.memory_mb 704 → 512"));
  ApplyAll();
}

TEST_F(InRoom, MemoryOfAGuestThatNeedsItAllIsNotTouched) {
  Told()->set_available_kib(100 * 1024);
  Wanted()->set_memory_mb(512);
  EXPECT_THAT(Actions(), ElementsAre("domain: define"));
  EXPECT_THAT(Reasons(), ElementsAre(HasSubstr("the guest uses 928 MiB of it: 1024 MiB are left")));
  Told()->set_available_kib(uint64_t{1} << 40);  // nonsense
  EXPECT_THAT(Actions(), ElementsAre("resources.memory_mb 1024 → 512"));
}

TEST_F(InRoom, ABalloonThatGivesNothingBackTakesNothing) {
  Domain().room.gives_back = false;
  Wanted()->set_memory_mb(512);
  EXPECT_THAT(Reasons(),
              ElementsAre(HasSubstr("a balloon that gives a guest in need nothing back")));
  Wanted()->set_memory_mb(1024);
  FakeResize(512, &Domain());  // virsh setmem
  EXPECT_EQ(ItemOf("resources.memory_mb").moved_by(), Item::LIBVIRT);
  EXPECT_THAT(Actions(), ElementsAre("resources.memory_mb 512 → 1024"));
  ApplyAll();
}

TEST_F(InRoom, MemoryThatTheGuestDoesNotTakeOrGiveIsToldAndNotAskedForAgain) {
  Wanted()->set_memory_mb(2048);
  Domain().persistent.mutable_resources()->set_memory_mb(2048);
  Domain().room.asked_mb = 1024;
  Domain().room.added_mb = 256;
  Domain().live.mutable_resources()->set_memory_mb(1280);
  EXPECT_THAT(Actions(), IsEmpty());
  EXPECT_THAT(Reasons(), ElementsAre(HasSubstr("the guest has taken no more than 1280 MiB")));
  Wanted()->set_memory_mb(1024);
  Domain().persistent.mutable_resources()->set_memory_mb(1024);
  EXPECT_THAT(Actions(), ElementsAre("resources.memory_mb 1280 → 1024"));
  Domain().room.asked_mb = 0;
  EXPECT_THAT(Actions(), IsEmpty());
  EXPECT_THAT(Reasons(), ElementsAre(HasSubstr("the guest still holds 256 MiB of what was taken")));
}

TEST_F(InRoom, MemoryThatIsPluggedButOfflineIsNotAppliedYet) {
  Wanted()->set_memory_mb(1280);
  ApplyAll();
  Told()->set_offline_kib(128 * 1024);
  EXPECT_THAT(ItemOf("resources.memory_mb").text(), HasSubstr("128 MiB of it are offline"));
  EXPECT_THAT(Actions(), ElementsAre("resources.memory_mb 1152 → 1280"));
  ApplyAll();
}

}  // namespace
}  // namespace rum
