// Machines that go by themselves, stand still, or reboot in the middle: what rum says and does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/controller/fake_world.h"

namespace rum {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Revived : public testing::Test {
 protected:
  Revived() {
    world_.now = [this] { return now_; };
  }
  void GoUp() {
    machine_ = world_.NewMachine();
    const Seen up = Apply(*machine_, Up());
    ASSERT_FALSE(up.outcome.failed) << up.outcome.error;
  }
  bool Running() { return world_.hypervisor->Inspect(world_.identity)->running; }
  void Crash() { world_.hypervisor->PowerOff(world_.identity, DomainCause::kCrashed); }
  // As the loop does: it looks when libvirt tells of it, and when the pause is over.
  void LookAndWait(absl::Duration wait) {
    (void)machine_->Background({});
    now_ += wait;
    (void)machine_->Background({});
  }
  Item MachineItem() {
    for (const MachineStatus status = machine_->Status(); const Item& item : status.items()) {
      if (item.field() == "machine") return item;
    }
    return Item();
  }

  FakeWorld world_;
  absl::Time now_ = absl::Now();
  std::unique_ptr<Machine> machine_;
};

TEST_F(Revived, ACrashedMachineIsStartedAgainAfterAPauseAndItsHistorySaysSo) {
  GoUp();
  Crash();
  EXPECT_TRUE(machine_->Background({}).ok());
  EXPECT_FALSE(Running()) << "not at once";
  EXPECT_LT(machine_->next_start(), absl::InfiniteFuture());
  MachineStatus status = machine_->Status();
  EXPECT_EQ(status.phase(), MachineStatus::CRASHED);
  EXPECT_EQ(status.phase_reason(), "QEMU ended unexpectedly");
  EXPECT_GT(status.phase_since_ms(), 0);
  EXPECT_EQ(MachineItem().text(), "QEMU ended unexpectedly: will be started again (1 of 5)");
  now_ += absl::Seconds(2);
  (void)machine_->Background({});
  EXPECT_TRUE(Running());
  EXPECT_EQ(world_.Record().restarts(), 1u);
  std::vector<std::string> told;
  for (const MachineRecord record = world_.Record(); const Event& event : record.events()) {
    if (event.field() == "domain")
      told.push_back(absl::StrCat(event.before(), " → ", event.after(), ": ", event.why()));
  }
  EXPECT_THAT(told, Contains("running → crashed: QEMU ended unexpectedly"));
  EXPECT_THAT(told, Contains("crashed → running: Started the machine again (1 of 5): QEMU ended "
                             "unexpectedly"));
}

TEST_F(Revived, AClockThatIsPutBackOrForwardKeepsNoMachineOff) {
  for (const absl::Duration jump : {-absl::Hours(24), absl::Hours(24), absl::UnixEpoch() - now_}) {
    GoUp();
    Crash();
    (void)machine_->Background({});
    EXPECT_FALSE(Running());
    const absl::Time before = std::exchange(now_, now_ + jump + absl::Seconds(2));
    (void)machine_->Background({});
    EXPECT_TRUE(Running()) << jump;
    (void)machine_->Background({});
    EXPECT_EQ(world_.Record().restarts(), 1u) << "once";
    EXPECT_EQ(world_.guest->TimesRun("system 1"), 1);
    now_ = before;
    ASSERT_FALSE(Apply(*machine_, Up()).outcome.failed) << "a command begins another series";
  }
}

TEST_F(Revived, FiveTimesAndThenItIsFailingUntilACommand) {
  GoUp();
  for (int i = 0; i < 5; ++i) {
    Crash();
    LookAndWait(absl::Seconds(20));
    ASSERT_TRUE(Running()) << i;
  }
  Crash();
  LookAndWait(absl::Hours(1));
  EXPECT_FALSE(Running());
  EXPECT_GT(machine_->next_start(), now_ + absl::Hours(1'000'000));
  EXPECT_EQ(MachineItem().state(), Item::FAILING);
  EXPECT_TRUE(MachineItem().given_up());
  EXPECT_THAT(MachineItem().text(), HasSubstr("`rum up` starts it"));
  machine_ = world_.NewMachine();  // of the next controller, which remembers
  LookAndWait(absl::Hours(1));
  EXPECT_FALSE(Running());
  EXPECT_FALSE(Apply(*machine_, Up()).outcome.failed);
  EXPECT_EQ(world_.Record().restarts(), 0u);
  Crash();
  LookAndWait(absl::Seconds(2));
  EXPECT_TRUE(Running());
}

TEST_F(Revived, ANewFileBeginsAnew) {
  GoUp();
  for (int i = 0; i < 6; ++i) {
    Crash();
    LookAndWait(absl::Seconds(20));
  }
  ASSERT_FALSE(Running());
  world_.file.memory_mb = 2048;
  world_.Save();
  LookAndWait(absl::Seconds(2));
  EXPECT_TRUE(Running());
}

TEST_F(Revived, AlsoWhenTheLoopOnlyReports) {
  world_.file.auto_reconcile = false;
  world_.Save();
  GoUp();
  Crash();
  LookAndWait(absl::Seconds(2));
  EXPECT_TRUE(Running());
  EXPECT_EQ(world_.Record().restarts(), 1u);
}

TEST_F(Revived, AStartThatFailsIsTriedAgainLater) {
  GoUp();
  Crash();
  (void)machine_->Background({});
  now_ += absl::Seconds(2);
  world_.hypervisor->FailStarts(absl::FailedPreconditionError("start: no memory"));
  EXPECT_FALSE(machine_->Background({}).ok());
  EXPECT_FALSE(Running());
  EXPECT_LT(machine_->next_start(), absl::InfiniteFuture());
  world_.hypervisor->FailStarts(absl::OkStatus());
  now_ += absl::Seconds(3);
  (void)machine_->Background({});
  EXPECT_TRUE(Running());
  EXPECT_EQ(world_.Record().restarts(), 2u);
}

TEST_F(Revived, WhatSomebodyTurnedOffStaysOffAndNeverSaysSoAlone) {
  GoUp();
  world_.hypervisor->PowerOff(world_.identity, DomainCause::kShutDown);
  LookAndWait(absl::Hours(1));
  EXPECT_FALSE(Running());
  EXPECT_EQ(machine_->Status().phase(), MachineStatus::STOPPED);
  EXPECT_THAT(machine_->Status().phase_reason(), HasSubstr("shut down"));
  EXPECT_EQ(MachineItem().field(), "");
  world_.file.more = "restart = \"never\"\n";  // the file ends in [[ports]]
  world_.file.ports.clear();
  world_.Save();
  ASSERT_FALSE(Apply(*machine_, Up()).outcome.failed);
  Crash();
  LookAndWait(absl::Hours(1));
  EXPECT_FALSE(Running());
  EXPECT_EQ(MachineItem().state(), Item::FAILING);
  EXPECT_EQ(MachineItem().text(), "QEMU ended unexpectedly: `rum up` starts it");
}

TEST_F(Revived, AlwaysStartsItWithTheController) {
  world_.file.more = "restart = \"always\"\n";
  world_.file.ports.clear();
  world_.Save();
  GoUp();
  machine_.reset();
  world_.hypervisor->PowerOff(world_.identity, DomainCause::kNone);  // the host was off
  machine_ = world_.NewMachine();
  LookAndWait(absl::Seconds(2));
  EXPECT_TRUE(Running());
}

TEST_F(Revived, APausedMachineIsSaidToBePausedByEveryCommandAndUpGoesOnWithIt) {
  GoUp();
  world_.hypervisor->Hold(world_.identity, DomainCause::kPausedByUser);
  const std::string paused =
      "dev is paused (by `virsh suspend` or the like): `rum up` goes on with it";
  EXPECT_EQ(machine_->access().Guest().status().message(), paused);
  const MachineStatus status = machine_->Status();
  EXPECT_EQ(status.phase(), MachineStatus::PAUSED);
  EXPECT_FALSE(status.agent_connected());
  const Seen apply = Apply(*machine_);
  EXPECT_TRUE(apply.outcome.failed);
  EXPECT_EQ(apply.outcome.error, paused);
  EXPECT_EQ(apply.outcome.plan.phase(), MachineStatus::PAUSED);
  LookAndWait(absl::Hours(1));
  EXPECT_EQ(machine_->Status().phase(), MachineStatus::PAUSED) << "nobody goes on with it";
  const Seen up = Apply(*machine_, Up());
  EXPECT_FALSE(up.outcome.failed) << up.outcome.error;
  EXPECT_THAT(up.done, ElementsAre("Went on with the paused machine"));
  EXPECT_TRUE(machine_->access().Guest().ok());
  world_.hypervisor->Hold(world_.identity, DomainCause::kPausedByDisk);
  EXPECT_THAT(std::string(machine_->access().Guest().status().message()),
              HasSubstr("make room, then"));
}

TEST_F(Revived, ApplyOnAMachineThatIsOffSaysSoAndWhatTheNextStartBrings) {
  GoUp();
  EXPECT_FALSE(machine_->Down({}).failed);
  Seen apply = Apply(*machine_);
  EXPECT_FALSE(apply.outcome.failed) << apply.outcome.error;
  EXPECT_THAT(apply.outcome.plan.standing(), HasSubstr("dev is off"));
  EXPECT_THAT(apply.outcome.plan.standing(), HasSubstr("`rum up` starts it"));
  EXPECT_EQ(apply.outcome.plan.phase(), MachineStatus::STOPPED);
  EXPECT_THAT(apply.outcome.plan.at_start(), IsEmpty());
  world_.file.memory_mb = 2048;
  world_.file.hostname = "devbox";
  world_.Save();
  ApplyOptions dry_run;
  dry_run.dry_run = true;
  for (const ApplyOptions& options : {dry_run, ApplyOptions(), dry_run, ApplyOptions()}) {
    apply = Apply(*machine_, options);
    EXPECT_THAT(apply.outcome.plan.standing(), HasSubstr("dev is off"));
    ASSERT_EQ(apply.outcome.plan.at_start_size(), 2);
    EXPECT_EQ(apply.outcome.plan.at_start(0).field(), "resources.memory_mb");
    EXPECT_EQ(apply.outcome.plan.at_start(1).field(), "network.hostname");
  }
  EXPECT_FALSE(machine_->access().Guest().ok());
  const Seen up = Apply(*machine_, Up());
  EXPECT_EQ(up.outcome.plan.standing(), "");
  EXPECT_EQ(up.outcome.plan.phase(), MachineStatus::RUNNING);
}

TEST_F(Revived, ABootScriptThatRebootsIsNoFailureOfUp) {
  world_.guest->reboots["boot 1"] = 1;
  GoUp();
  EXPECT_EQ(world_.guest->TimesRun("boot 1"), 2);
  EXPECT_EQ(world_.guest->TimesRun("system 1"), 1);
  world_.ExpectConverged();
  EXPECT_EQ(world_.guest->runs[1].ending(), agent::ScriptRun::INTERRUPTED);
  bool told = false;
  for (const MachineRecord record = world_.Record(); const Event& event : record.events()) {
    told =
        told || event.why() == "the guest rebooted in the middle of the boot provisioning script";
  }
  EXPECT_TRUE(told);
}

TEST_F(Revived, ASystemScriptThatRebootsRunsAgainInTheNextBoot) {
  world_.guest->reboots["system 1"] = 2;
  GoUp();
  EXPECT_EQ(world_.guest->TimesRun("system 1"), 3);
  EXPECT_EQ(world_.guest->TimesRun("boot 1"), 1);
  world_.ExpectConverged();
}

TEST_F(Revived, AScriptThatRebootsForEverIsSaidToAndEnds) {
  world_.guest->reboots["boot 1"] = 1000;
  machine_ = world_.NewMachine();
  const Seen up = Apply(*machine_, Up());
  EXPECT_TRUE(up.outcome.failed);
  EXPECT_THAT(up.outcome.error, HasSubstr("does a script reboot it in each boot?"));
  EXPECT_LE(world_.guest->TimesRun("boot 1"), 7);
}

TEST_F(Revived, AScriptWhoseMachineGoesOffSaysWhat) {
  machine_ = world_.NewMachine();
  EventSink sink;
  sink.progress = [&](const std::string& text) {
    if (text != "running the boot provisioning script") return;
    world_.guest->SetConnected(false);
    world_.hypervisor->PowerOff(world_.identity, DomainCause::kShutDown);
  };
  const ApplyOutcome up = machine_->Apply(Up(), sink);
  EXPECT_TRUE(up.failed);
  EXPECT_THAT(up.errors.at("provision.boot.script"), HasSubstr("went off: dev is off (shut down"));
}

TEST_F(Revived, ARecordOfAnOlderBuildIsNoChangedFile) {
  GoUp();
  MachineRecord old = world_.Record();
  old.mutable_desired()->mutable_reconcile()->clear_restart();
  old.mutable_applied()->mutable_reconcile()->clear_restart();
  old.clear_last_live();
  old.clear_phase();
  machine_ = world_.NewMachine();
  machine_->TakeUp(old);
  EXPECT_EQ(machine_->Status().generation(), 1);
  EXPECT_EQ(machine_->Status().applied_generation(), 1);
  EXPECT_TRUE(machine_->Background({}).ok());
  EXPECT_EQ(world_.Record().generation(), 1);
}

}  // namespace
}  // namespace rum
