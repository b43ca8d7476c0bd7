#include "controller/reconcile/reconciler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "state/names.h"
#include "tests/controller/fake_world.h"

namespace rum {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class ReconcilerTest : public testing::Test {
 protected:
  void GoUp() {
    machine_ = world_.NewMachine();
    const Seen up = Apply(*machine_, Up());
    ASSERT_FALSE(up.outcome.failed) << up.outcome.error;
  }
  // The edit that the project's story is about.
  void Edit() {
    world_.file.ports = {{8080, 80}, {3000, 3000}};
    world_.file.hostname = "devbox";
    world_.file.groups = {"docker", "video"};
    world_.file.boot = "boot 2";
    world_.file.system = "system 2";
    world_.file.memory_mb = 2048;
    world_.Save();
  }

  FakeWorld world_;
  std::unique_ptr<Machine> machine_;
};

TEST_F(ReconcilerTest, UpMakesEverythingOfTheFileTrue) {
  machine_ = world_.NewMachine();
  const Seen up = Apply(*machine_, Up());
  EXPECT_FALSE(up.outcome.failed) << up.outcome.error;
  EXPECT_FALSE(up.outcome.already_running);
  EXPECT_THAT(up.done,
              ElementsAre("Made the machine's disks and definition", "Started the machine",
                          "Updated port forwards (added 5432→5432, 8080→80)",
                          "Set hostname localhost → dev", "Added rum to groups docker, wheel",
                          "Ran system provisioning script", "Ran boot provisioning script"));
  EXPECT_EQ(up.output, "output of system 1\noutput of boot 1\n");
  world_.ExpectConverged();
  EXPECT_EQ(world_.Record().generation(), 1);
}

class CountingHypervisor : public FakeHypervisor {
 public:
  using FakeHypervisor::FakeHypervisor;
  absl::StatusOr<DomainState> Inspect(const MachineIdentity& machine) override {
    ++looks;
    return FakeHypervisor::Inspect(machine);
  }
  int looks = 0;
};

TEST_F(ReconcilerTest, EachLookIsJudgedOnce) {
  const auto libvirt = std::make_shared<CountingHypervisor>();
  world_.libvirt = libvirt;
  machine_ = world_.NewMachine();
  for (const bool edited : {false, true, false}) {
    if (edited) Edit();
    const int looks = libvirt->looks;
    const int64_t judgements = JudgementCount();
    EXPECT_FALSE(Apply(*machine_, Up()).outcome.failed);
    EXPECT_EQ(JudgementCount() - judgements, libvirt->looks - looks);
    EXPECT_GT(libvirt->looks, looks);
  }
}

TEST_F(ReconcilerTest, UpOnAnUnchangedMachineDoesNothing) {
  GoUp();
  const int saves = world_.disk->saves;
  const Seen again = Apply(*machine_, Up());
  EXPECT_TRUE(again.outcome.already_running);
  EXPECT_EQ(again.outcome.actions, 0);
  EXPECT_THAT(again.outcome.plan.waiting(), IsEmpty());
  EXPECT_EQ(world_.disk->saves, saves);
}

// Of a key the guest tells no options, so that nobody sees there whether they hold.
TEST_F(ReconcilerTest, OtherOptionsOfAKeyHoldOnceTheyAreSet) {
  const std::string key =
      "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJzzpIIkMdRmfnopXH6odGLyDS4kHRm511No822IvLRZ me";
  for (const char* options : {"restrict ", "no-pty ", ""}) {
    world_.file.more = "[ssh]\nauthorized_keys = [\"" + (options + key) + "\"]\n";
    world_.Save();
    if (machine_ == nullptr) GoUp();
    const Seen seen = Apply(*machine_);
    EXPECT_FALSE(seen.outcome.failed) << options << seen.outcome.error;
    EXPECT_THAT(Apply(*machine_).done, IsEmpty()) << options;
  }
}

TEST_F(ReconcilerTest, AnEditedFileIsAppliedAndTheRestIsListed) {
  GoUp();
  world_.guest->groups.insert("byhand");
  Edit();
  const Seen seen = Apply(*machine_);
  EXPECT_FALSE(seen.outcome.failed) << seen.outcome.error;
  EXPECT_THAT(seen.done, ElementsAre("Wrote the new definition for the next start",
                                     "Updated port forwards (added 3000→3000, removed 5432→5432)",
                                     "Set hostname dev → devbox",
                                     "Added rum to groups video; removed from wheel",
                                     "Re-ran boot provisioning script"));
  ASSERT_THAT(seen.outcome.plan.waiting(), SizeIs(2));
  EXPECT_EQ(seen.outcome.plan.waiting(0).field(), "resources.memory_mb");
  EXPECT_EQ(seen.outcome.plan.waiting(1).field(), "provision.system.script");
  world_.ExpectConverged();
  EXPECT_EQ(world_.guest->groups, (std::set<std::string>{"byhand", "docker", "video"}));
  EXPECT_EQ(world_.host->opened, 3) << "the untouched forward keeps its socket";
  EXPECT_EQ(world_.guest->TimesRun("system 2"), 0);
  EXPECT_EQ(Apply(*machine_).outcome.actions, 0);
}

TEST_F(ReconcilerTest, AGuestThatGivesMemoryBackTooSlowlyIsSaidToAndAskedAgain) {
  const auto libvirt = std::make_shared<FakeHypervisor>();
  world_.libvirt = libvirt;
  GoUp();
  world_.file.memory_mb = 512;
  world_.Save();
  libvirt->HoldMemory(700);
  EXPECT_THAT(std::string(Apply(*machine_).outcome.status.message()),
              HasSubstr("the guest was asked for all but 512 MiB and still has 700 MiB"));
  libvirt->HoldMemory(0);
  const Seen seen = Apply(*machine_);
  EXPECT_FALSE(seen.outcome.failed) << seen.outcome.error;
  EXPECT_THAT(seen.done, ElementsAre("Set memory 700 → 512 MiB"));
  EXPECT_EQ(Apply(*machine_).outcome.actions, 0);
}

TEST_F(ReconcilerTest, ADryRunShowsThePlanAndTouchesNothing) {
  GoUp();
  Edit();
  const std::string record = world_.Record().SerializeAsString();
  const int calls = world_.guest->calls;
  const size_t changes = world_.hypervisor->Changes().size();
  ApplyOptions options;
  options.dry_run = true;
  const Seen seen = Apply(*machine_, options);
  EXPECT_FALSE(seen.outcome.failed);
  EXPECT_THAT(seen.outcome.plan.actions(), SizeIs(5));
  EXPECT_THAT(seen.outcome.plan.waiting(), SizeIs(2));
  EXPECT_THAT(seen.done, IsEmpty());
  EXPECT_EQ(world_.Record().SerializeAsString(), record);
  EXPECT_EQ(world_.guest->calls, calls);
  EXPECT_EQ(world_.hypervisor->Changes().size(), changes);
  EXPECT_EQ(world_.host->open.count(5432), 1u);
}

TEST_F(ReconcilerTest, ADryRunOnNothingMakesNothing) {
  machine_ = world_.NewMachine();
  ApplyOptions options = Up();
  options.dry_run = true;
  EXPECT_THAT(Apply(*machine_, options).outcome.plan.actions(), SizeIs(2));
  EXPECT_EQ(world_.disk->saves, 0);
  EXPECT_THAT(world_.hypervisor->Changes(), IsEmpty());
}

TEST_F(ReconcilerTest, AMemoryChangeThatIsTakenBackLeavesNoFlag) {
  GoUp();
  world_.file.memory_mb = 2048;
  world_.Save();
  EXPECT_THAT(Apply(*machine_).outcome.plan.waiting(), SizeIs(1));
  world_.file.memory_mb = 1024;
  world_.Save();
  EXPECT_THAT(Apply(*machine_).outcome.plan.waiting(), IsEmpty());
  world_.ExpectConverged();
}

TEST_F(ReconcilerTest, DownAndUpBringWhatNeededARestart) {
  GoUp();
  world_.file.memory_mb = 2048;
  world_.Save();
  Apply(*machine_);
  EXPECT_FALSE(machine_->Down({}).failed);
  EXPECT_THAT(world_.host->open, IsEmpty());
  EXPECT_FALSE(world_.Record().want_running());
  EXPECT_EQ(machine_->Status().phase(), MachineStatus::STOPPED);
  world_.guest->Reboot("boot-2");
  const Seen up = Apply(*machine_, Up());
  EXPECT_THAT(up.outcome.plan.waiting(), IsEmpty());
  EXPECT_EQ(world_.hypervisor->Inspect(world_.identity)->live.resources().memory_mb(), 2048u);
  EXPECT_EQ(world_.guest->TimesRun("boot 1"), 2);
  EXPECT_EQ(world_.guest->TimesRun("system 1"), 1);
  world_.ExpectConverged();
}

TEST_F(ReconcilerTest, AChangedSystemScriptRunsOnceByForce) {
  GoUp();
  world_.file.system = "system 2";
  world_.Save();
  ApplyOptions force;
  force.force = true;
  EXPECT_THAT(Apply(*machine_, force).done, ElementsAre("Re-ran system provisioning script"));
  EXPECT_EQ(Apply(*machine_, force).outcome.actions, 0);
  EXPECT_EQ(world_.guest->TimesRun("system 2"), 1);
}

TEST_F(ReconcilerTest, AFailingScriptStopsNothingElseAndIsNotApplied) {
  GoUp();
  world_.guest->exit_statuses["bad"] = 3;
  world_.file.boot = "bad";
  world_.file.hostname = "stillset";
  world_.Save();
  for (int i = 0; i < 2; ++i) {
    const Seen seen = Apply(*machine_);
    EXPECT_TRUE(seen.outcome.failed);
    EXPECT_THAT(seen.failed, ElementsAre("boot provisioning script failed with exit status 3"));
    EXPECT_EQ(world_.guest->hostname, "stillset");
  }
  EXPECT_EQ(world_.guest->TimesRun("bad"), 2) << "asked twice, tried twice";
  EXPECT_EQ(world_.Record().applied().provision().boot().script(), "boot 1");
  EXPECT_TRUE(machine_->Background({}).ok());
  EXPECT_EQ(world_.guest->TimesRun("bad"), 2) << "the loop does not retry";
}

TEST_F(ReconcilerTest, AFailedSystemScriptKeepsTheBootScriptBack) {
  world_.guest->exit_statuses["system 1"] = 1;
  machine_ = world_.NewMachine();
  EXPECT_TRUE(Apply(*machine_, Up()).outcome.failed);
  EXPECT_EQ(world_.guest->TimesRun("boot 1"), 0);
  world_.guest->exit_statuses.clear();
  EXPECT_FALSE(Apply(*machine_, Up()).outcome.failed);
  EXPECT_EQ(world_.guest->TimesRun("system 1"), 2);
  EXPECT_EQ(world_.guest->TimesRun("boot 1"), 1);
}

// The run loop goes by the status.
TEST_F(ReconcilerTest, WhatWaitsForSomebodyKeepsNothingElseFromAnotherTry) {
  GoUp();
  Edit();
  world_.guest->fail_next = absl::FailedPreconditionError("not without you");
  world_.guest->fail_after = absl::AbortedError("held by vipw");
  const Seen seen = Apply(*machine_);
  EXPECT_THAT(seen.failed, ElementsAre("hostname: not without you", "groups: held by vipw"));
  EXPECT_TRUE(absl::IsAborted(seen.outcome.status)) << seen.outcome.status;
}

TEST_F(ReconcilerTest, AFailedActionStopsNoOther) {
  GoUp();
  Edit();
  world_.guest->fail_next = absl::InternalError("read-only file system");
  const Seen seen = Apply(*machine_);
  EXPECT_THAT(seen.failed, ElementsAre("hostname: read-only file system"));
  EXPECT_THAT(seen.done, SizeIs(4));
  EXPECT_LT(world_.Record().applied_generation(), world_.Record().generation());
  EXPECT_EQ(world_.Record().applied().network().hostname(), "dev");
  EXPECT_THAT(Apply(*machine_).done, ElementsAre("Set hostname dev → devbox"));
  world_.ExpectConverged();
}

TEST_F(ReconcilerTest, ATakenPortFailsAloneAndIsRetried) {
  world_.host->taken.insert(5432);
  machine_ = world_.NewMachine();
  const Seen up = Apply(*machine_, Up());
  EXPECT_TRUE(up.outcome.failed);
  EXPECT_THAT(up.failed, ElementsAre("Updated port forwards (added 8080→80); port 127.0.0.1:5432: "
                                     "in use by postgres (pid 812)"));
  EXPECT_EQ(world_.guest->hostname, "dev");
  world_.host->taken.clear();
  EXPECT_THAT(Apply(*machine_).done, ElementsAre("Updated port forwards (added 5432→5432)"));
  world_.ExpectConverged();
}

TEST_F(ReconcilerTest, ABadFileTouchesNothing) {
  GoUp();
  const std::string record = world_.Record().SerializeAsString();
  world_.SaveText("[resources]\ncpus = \"two\"\n");
  const Seen seen = Apply(*machine_);
  EXPECT_TRUE(seen.outcome.failed);
  EXPECT_THAT(seen.outcome.error, HasSubstr("dev.rum.toml:2:8: error:"));
  EXPECT_EQ(world_.Record().SerializeAsString(), record);
  const MachineStatus status = machine_->Status();
  EXPECT_THAT(status.config_error(), HasSubstr("dev.rum.toml:2:8: error:"));
  EXPECT_EQ(status.phase(), MachineStatus::RUNNING);
}

TEST_F(ReconcilerTest, ApplyOnNothingSaysHowToMakeIt) {
  machine_ = world_.NewMachine();
  const Seen seen = Apply(*machine_);
  EXPECT_TRUE(seen.outcome.failed);
  EXPECT_THAT(seen.outcome.error, HasSubstr("rum up"));
  EXPECT_THAT(world_.hypervisor->Changes(), IsEmpty());
}

TEST_F(ReconcilerTest, WaitsForAnAgentThatBootsSlowly) {
  world_.guest->connected = false;
  machine_ = world_.NewMachine();
  std::thread boot([this] {
    // The machine is up and its ports are open before anybody waits.
    while (true) {
      std::lock_guard<std::mutex> lock(world_.host->mutex);
      if (!world_.host->open.empty()) break;
    }
    world_.guest->SetConnected(true);
  });
  const Seen up = Apply(*machine_, Up());
  boot.join();
  EXPECT_FALSE(up.outcome.failed) << up.outcome.error;
  world_.ExpectConverged();
}

TEST_F(ReconcilerTest, AnAgentThatDoesNotComeIsAFailureOfTheGuestAlone) {
  GoUp();
  Edit();
  world_.guest->connected = false;
  ApplyOptions options;
  options.agent_patience = absl::Milliseconds(20);
  const Seen seen = Apply(*machine_, options);
  EXPECT_TRUE(seen.outcome.failed);
  EXPECT_THAT(seen.outcome.error, HasSubstr("does not answer"));
  EXPECT_TRUE(absl::IsUnavailable(seen.outcome.status));
  EXPECT_THAT(seen.done, SizeIs(2)) << "definition and ports need no guest";
  EXPECT_EQ(machine_->Status().phase(), MachineStatus::UNREACHABLE);
}

TEST_F(ReconcilerTest, WhoWaitedForAnAgentInVainIsShownWhatTheConsoleSaidLast) {
  GoUp();
  world_.guest->connected = false;
  ApplyOptions options = Up();
  options.agent_patience = options.boot_patience = absl::Milliseconds(20);
  EXPECT_THAT(Apply(*machine_, options).outcome.error, HasSubstr("`rum console` shows"))
      << "not kept";
  std::string said;
  for (int i = 0; i < 50; ++i) absl::StrAppend(&said, "\x1B[32mline ", i, "\r\n\r\n");
  world_.hypervisor->SetConsoleLog(world_.identity, said + "Kernel panic");
  const std::string error = Apply(*machine_, options).outcome.error;
  EXPECT_THAT(error, HasSubstr("Its console ends with:\n    line 31\n    line 32\n"));
  EXPECT_THAT(error, testing::EndsWith("\n    line 49\n    Kernel panic"));
}

TEST_F(ReconcilerTest, AnAnswerThatIsNoAgentsIsAFailureOfTheGuestAloneAndIsNotWaitedOut) {
  GoUp();
  Edit();
  world_.guest->refused = absl::DataLossError("the guest says what no agent says: 65 cards");
  ApplyOptions options;
  options.agent_patience = absl::Hours(1);
  const Seen seen = Apply(*machine_, options);
  EXPECT_TRUE(seen.outcome.failed);
  EXPECT_THAT(seen.outcome.error, HasSubstr("what no agent says: 65 cards: hostname, groups"));
  EXPECT_THAT(seen.done, SizeIs(2)) << "definition and ports need no guest";
  const MachineStatus status = machine_->Status();
  EXPECT_EQ(status.phase(), MachineStatus::UNREACHABLE);
  EXPECT_THAT(status.phase_reason(), HasSubstr("65 cards"));
  world_.guest->refused = absl::OkStatus();
  EXPECT_FALSE(Apply(*machine_).outcome.failed);
  world_.ExpectConverged();
}

TEST_F(ReconcilerTest, ALibvirtThatIsAwayIsNotAMachineThatIsNot) {
  GoUp();
  world_.hypervisor->FailAll(absl::UnavailableError("cannot connect"));
  const Seen seen = Apply(*machine_);
  EXPECT_EQ(seen.outcome.error, "libvirt: cannot connect");
  EXPECT_THAT(machine_->Status().error(), HasSubstr("cannot connect"));
  EXPECT_EQ(machine_->Status().phase(), MachineStatus::UNREACHABLE);
}

TEST_F(ReconcilerTest, ResetMakesAFreshDiskOnce) {
  GoUp();
  world_.file.image = "/images/other.qcow2";
  world_.Save();
  const Seen apply = Apply(*machine_);
  ASSERT_THAT(apply.outcome.plan.waiting(), SizeIs(1));
  EXPECT_EQ(apply.outcome.plan.waiting(0).effect(), RECREATE);
  world_.guest->runs.clear();  // they were on the old disk
  world_.guest->groups.clear();
  ApplyOptions reset = Up();
  reset.reset = true;
  const Seen seen = Apply(*machine_, reset);
  EXPECT_FALSE(seen.outcome.failed) << seen.outcome.error;
  EXPECT_EQ(world_.hypervisor->DisksMade(world_.identity), 2);
  EXPECT_EQ(world_.guest->TimesRun("system 1"), 2);
  EXPECT_THAT(seen.outcome.plan.waiting(), IsEmpty());
  world_.ExpectConverged();
}

TEST_F(ReconcilerTest, ResetSaysBeforeAnythingMovesWhichDrivesGoAndWhichStay) {
  world_.file.more = "[drives.logs]\nsize = \"1G\"\n[drives.data]\nsize = \"1G\"\n";
  world_.Save();
  GoUp();
  ApplyOptions reset = Up();
  reset.reset = true;
  EXPECT_EQ(Apply(*machine_, reset).progress.front(),
            "removing the root disk and all that is on it; drives kept: data, logs");
  reset.reset_drives = true;
  const Seen seen = Apply(*machine_, reset);
  EXPECT_EQ(
      seen.progress.front(),
      "removing the root disk and all that is on it; with --drives also of drives data, logs");
  EXPECT_THAT(seen.done, Contains("Made a fresh disk, fresh drives and a new definition"));
}

TEST_F(ReconcilerTest, AMachineGetsAKeyOfItsOwnAtItsFirstUpAndLosesItWhenItIsDestroyed) {
  world_.key_folder = world_.folder() + "/keys";
  machine_ = world_.NewMachine();
  EXPECT_TRUE(Apply(*machine_).outcome.failed) << "there is no machine";
  EXPECT_FALSE(std::filesystem::exists(world_.key_folder));
  EXPECT_FALSE(Apply(*machine_, Up()).outcome.failed);
  const std::string key = MachineKeys(world_.key_folder).Find(world_.identity);
  EXPECT_THAT(world_.guest->keys, ElementsAre(KeyWithoutComment(key)));
  EXPECT_EQ(Apply(*machine_, Up()).outcome.actions, 0);
  world_.guest->keys.clear();
  EXPECT_TRUE(machine_->Background({}).ok());
  EXPECT_THAT(world_.guest->keys, SizeIs(1)) << "drift of it is put right";
  EXPECT_THAT(machine_->Destroy({}).removed, Contains(HasSubstr("ssh key ")));
  EXPECT_FALSE(std::filesystem::exists(world_.key_folder));
}

TEST_F(ReconcilerTest, DestroyForgetsEverything) {
  GoUp();
  const ApplyOutcome outcome = machine_->Destroy({});
  EXPECT_FALSE(outcome.failed);
  EXPECT_THAT(outcome.removed, SizeIs(1));
  EXPECT_THAT(world_.disk->records, IsEmpty());
  EXPECT_THAT(world_.host->open, IsEmpty());
  EXPECT_EQ(machine_->Status().phase(), MachineStatus::NOT_DEFINED);
  EXPECT_FALSE(Apply(*machine_, Up()).outcome.failed);
}

TEST_F(ReconcilerTest, DestroyNamesSnapshotsAndTakesThemOnlyWhenItIsTold) {
  GoUp();
  world_.hypervisor->MakeSnapshot(world_.identity, "before-upgrade");
  const ApplyOutcome refused = machine_->Destroy({});
  EXPECT_TRUE(refused.failed);
  EXPECT_THAT(refused.snapshots, ElementsAre("before-upgrade"));
  EXPECT_THAT(refused.error, HasSubstr("before-upgrade"));
  EXPECT_EQ(machine_->Status().phase(), MachineStatus::RUNNING);
  EXPECT_FALSE(machine_->Destroy({}, true).failed);
  EXPECT_EQ(machine_->Status().phase(), MachineStatus::NOT_DEFINED);
}

TEST_F(ReconcilerTest, ARecordThatCannotBeSavedStopsBeforeAnythingMoves) {
  GoUp();
  Edit();
  world_.disk->fail_saves = absl::ResourceExhaustedError("disk full");
  const int calls = world_.guest->calls;
  const Seen seen = Apply(*machine_);
  EXPECT_THAT(seen.outcome.error, HasSubstr("disk full"));
  EXPECT_EQ(world_.guest->calls, calls);
}

TEST_F(ReconcilerTest, BackgroundCorrectsDriftUnlessToldNotTo) {
  GoUp();
  world_.guest->hostname = "typed";
  EXPECT_TRUE(machine_->Background({}).ok());
  EXPECT_EQ(world_.guest->hostname, "dev");
  world_.file.auto_reconcile = false;
  world_.Save();
  world_.guest->hostname = "typed";
  EXPECT_TRUE(machine_->Background({}).ok());
  EXPECT_EQ(world_.guest->hostname, "typed");
}

TEST_F(ReconcilerTest, ANewControllerOpensThePortsAgainAlsoWhenItOnlyReports) {
  world_.file.auto_reconcile = false;
  world_.Save();
  GoUp();
  machine_.reset();
  EXPECT_THAT(world_.host->open, IsEmpty());
  Edit();
  world_.file.ports = {{8080, 80}, {5432, 5432}};
  machine_ = world_.NewMachine();
  EXPECT_TRUE(machine_->Background({}).ok());
  EXPECT_THAT(world_.host->open, SizeIs(2));
  EXPECT_EQ(world_.host->open.count(3000), 0u) << "what the file says now waits for an apply";
}

}  // namespace
}  // namespace rum
