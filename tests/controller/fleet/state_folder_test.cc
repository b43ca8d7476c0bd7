// Keys and runs in a state folder on a disk that loses power or fails, at any of its calls; and
// what an apply makes of a disk that is full.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "controller/aspects/run_store.h"
#include "controller/base/may_retry.h"
#include "controller/fleet/machine_key.h"
#include "state/file.h"
#include "tests/controller/fake_world.h"
#include "tests/fakes/disk/fragile_disk.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using testing::AnyOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class StateFolder : public testing::Test {
 protected:
  StateFolder() {
    fs::remove_all(base_);
    fs::create_directories(state_);
  }
  ~StateFolder() override { fs::remove_all(base_); }

  const fs::path base_ = fs::path(testing::TempDir()) / "fragile-state";
  const fs::path state_ = base_ / "state";
  const fs::path left_ = base_ / "left";
};

const MachineIdentity kDev = {"/p/dev.rum.toml", "dev", "aaaabbbbcccc"};

TEST_F(StateFolder, AKeyIsThereAsAWholeOrNotAtAllAfterAPowerCutAndStaysOnceItIsMade) {
  const MachineKeys keys(state_ / "keys");
  const MachineKeys after(left_ / "keys");
  FragileDisk disk(state_);
  disk.AfterEach([&] {
    disk.ForEachCut(left_, [&](const std::string& cut) {
      if (after.Find(kDev).empty()) return;
      EXPECT_EQ(after.Find(kDev), keys.Find(kDev)) << cut;
      EXPECT_EQ(*ReadFile(after.PrivatePath(kDev)), *ReadFile(keys.PrivatePath(kDev))) << cut;
    });
  });
  const absl::StatusOr<std::string> made = keys.Make(kDev);
  ASSERT_TRUE(made.ok()) << made.status();
  disk.AfterEach([] {});
  disk.ForEachCut(left_,
                  [&](const std::string& cut) { EXPECT_EQ(after.Find(kDev), *made) << cut; });
  ASSERT_TRUE(*keys.Remove(kDev));
  disk.ForEachCut(left_, [&](const std::string& cut) { EXPECT_EQ(after.Find(kDev), "") << cut; });
}

TEST_F(StateFolder, AKeyThatCannotBeMadeSaysWhereAndTheNextTryMakesIt) {
  FragileDisk disk(state_);
  for (int nth = 0;; ++nth) {
    const MachineKeys keys(state_ / "keys");
    disk.Fail(nth, ENOSPC);
    const absl::StatusOr<std::string> made = keys.Make(kDev);
    if (disk.failed().empty()) break;
    disk.Fail(-1, 0);
    EXPECT_FALSE(made.ok()) << nth;
    EXPECT_THAT(std::string(made.status().message()), HasSubstr(state_.string()));
    EXPECT_NE(*keys.Make(kDev), "");
    EXPECT_EQ(std::distance(fs::directory_iterator(state_ / "keys"), {}), 1) << "no halves stay";
    ASSERT_TRUE(*keys.Remove(kDev));
  }
}

TEST_F(StateFolder, AKeyThatCannotBeReadNowIsNotMadeAnew) {
  const MachineKeys keys(state_ / "keys");
  ASSERT_TRUE(keys.Make(kDev).ok());
  const std::string secret = *ReadFile(keys.PrivatePath(kDev));
  const fs::path line = keys.PrivatePath(kDev) + ".pub";
  fs::remove(line);
  fs::create_directory(line);  // what can be read as little as a bad sector
  EXPECT_THAT(std::string(keys.Make(kDev).status().message()), HasSubstr(line.string()));
  EXPECT_EQ(*ReadFile(keys.PrivatePath(kDev)), secret);
}

agent::RunScriptEvent Piece(uint64_t offset, const std::string& bytes) {
  agent::RunScriptEvent event;
  event.set_offset(offset);
  event.set_standard_output(bytes);
  return event;
}

agent::RunScriptEvent End() {
  agent::RunScriptEvent event;
  event.mutable_ended()->set_run_id("one");
  event.mutable_ended()->set_kind("boot");
  event.mutable_ended()->set_started_ms(1);
  event.mutable_ended()->set_ended_ms(2);
  return event;
}

std::string OutputIn(const RunStore& store) {
  RunLogReader log(store.FolderOf("m", "one"), 0);
  std::string all;
  for (OutputPiece piece; log.Next(&piece);) all += piece.bytes;
  return all;
}

// As whoever follows a run tells it, from where the store says on.
void Follow(RunStore* store) {
  const std::string output = "abcdefghi";
  for (size_t at = store->End("m", "one"); at < output.size(); at += 3) {
    store->Take("m", "one", Piece(at, output.substr(at, 3)));
  }
  store->Take("m", "one", End());
}

TEST_F(StateFolder, ARunThatCountsAsWholeIsWholeAfterAPowerCut) {
  RunStore store(state_ / "runs");
  FragileDisk disk(state_);
  const auto expect = [&](const std::string& cut) {
    const RunStore after(left_ / "runs");
    if (!after.Whole("m", "one")) return;
    EXPECT_THAT(after.Runs("m"), SizeIs(1)) << cut;
    EXPECT_EQ(OutputIn(after), "abcdefghi") << cut;
  };
  disk.AfterEach([&] { disk.ForEachCut(left_, expect); });
  Follow(&store);
  disk.AfterEach([] {});
  disk.ForEachCut(left_, [&](const std::string& cut) {
    EXPECT_TRUE(RunStore(left_ / "runs").Whole("m", "one")) << cut;
    expect(cut);
  });
}

// What a power cut left of a run that an earlier build kept.
TEST_F(StateFolder, ARunWithoutItsEndIsNotTakenForWhole) {
  RunStore store(state_ / "runs");
  Follow(&store);
  ASSERT_TRUE(store.Whole("m", "one"));
  fs::resize_file(state_ / "runs/m/one/run", 0);
  EXPECT_FALSE(store.Whole("m", "one"));
  Follow(&store);
  EXPECT_TRUE(store.Whole("m", "one"));
  EXPECT_THAT(store.Runs("m"), SizeIs(1));
}

TEST_F(StateFolder, OutputThatTheDiskDidNotTakeIsFetchedAgain) {
  FragileDisk disk(state_);
  for (int nth = 0;; ++nth) {
    RunStore store(state_ / "runs");
    disk.Fail(nth, nth % 2 == 0 ? EIO : ENOSPC);
    Follow(&store);
    if (disk.failed().empty()) break;
    disk.Fail(-1, 0);
    if (store.Whole("m", "one")) EXPECT_EQ(OutputIn(store), "abcdefghi") << nth;
    Follow(&store);
    EXPECT_TRUE(store.Whole("m", "one")) << nth << " " << disk.failed();
    EXPECT_EQ(OutputIn(store), "abcdefghi") << nth;
    EXPECT_THAT(store.Runs("m"), SizeIs(1));
    store.Remove("m");
  }
}

class MachineOnAFragileDisk : public StateFolder {
 protected:
  MachineOnAFragileDisk() {
    auto store = OpenFileStateStore(state_);
    EXPECT_TRUE(store.ok());
    world_.KeepIn(*std::move(store));
    world_.runs = std::make_shared<RunStore>(state_ / "runs");
  }

  FakeWorld world_;
};

TEST_F(MachineOnAFragileDisk, AnUpThatCannotWriteSaysWhereAndTheNextOneEndsInAWholeMachine) {
  int failures = 0;
  // Each kind of call of some save: there are five in one.
  for (int nth = 0; nth < 200; nth += 3) {
    FakeWorld world;
    fs::remove_all(state_);
    fs::create_directories(state_);
    world.KeepIn(*OpenFileStateStore(state_));
    FragileDisk disk(state_);
    disk.Fail(nth, nth % 2 == 0 ? EIO : ENOSPC);
    const ApplyOutcome first = Apply(*world.NewMachine(), Up()).outcome;
    if (disk.failed().empty()) break;
    ++failures;
    EXPECT_TRUE(first.failed) << nth;
    EXPECT_THAT(first.error, HasSubstr(state_.string())) << nth;
    disk.Fail(-1, 0);
    const auto machine = world.NewMachine();  // of a controller that knows what is on the disk
    const ApplyOutcome second = Apply(*machine, Up()).outcome;
    EXPECT_FALSE(second.failed) << nth << ": " << second.error;
    world.ExpectConverged();
    EXPECT_EQ(world.guest->TimesRun("boot 1"), 1) << nth;
    EXPECT_EQ(world.guest->TimesRun("system 1"), 1) << nth;
    EXPECT_EQ(world.hypervisor->DisksMade(world.identity), 1) << nth;
    EXPECT_EQ(Apply(*machine).outcome.actions, 0) << nth;
  }
  EXPECT_GE(failures, 5);
}

TEST_F(MachineOnAFragileDisk, AFullDiskStopsNoMachineAndIsTriedAgainWithAPause) {
  const auto machine = world_.NewMachine();
  ASSERT_FALSE(Apply(*machine, Up()).outcome.failed);
  world_.file.groups = {"docker", "video"};
  world_.Save();
  FragileDisk disk(state_);
  disk.FailAll(ENOSPC);
  const absl::Status status = machine->Background({});
  EXPECT_TRUE(MayRetry(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("No space left on device"));
  EXPECT_LT(disk.calls(), 20) << "it does not spin";
  EXPECT_EQ(world_.guest->groups.count("video"), 0u) << "what cannot be noted is not done";
  EXPECT_TRUE(world_.hypervisor->Inspect(world_.identity)->running);
  EXPECT_EQ(world_.host->open.size(), 2u);
  EXPECT_EQ(machine->Status().phase(), MachineStatus::RUNNING);
  disk.Fail(-1, 0);
  EXPECT_TRUE(machine->Background({}).ok());
  world_.ExpectConverged();
}

TEST_F(MachineOnAFragileDisk, ADownThatCannotBeNotedStopsNothing) {
  const auto machine = world_.NewMachine();
  ASSERT_FALSE(Apply(*machine, Up()).outcome.failed);
  FragileDisk disk(state_);
  disk.FailAll(EIO);
  const ApplyOutcome down = machine->Down({});
  EXPECT_TRUE(down.failed);
  EXPECT_THAT(down.error, HasSubstr(state_.string()));
  EXPECT_TRUE(world_.hypervisor->Inspect(world_.identity)->running);
  EXPECT_TRUE(machine->want_running());
  disk.Fail(-1, 0);
  EXPECT_FALSE(machine->Down({}).failed);
}

TEST_F(MachineOnAFragileDisk, AWordThatCannotBeKeptIsNotGiven) {
  world_.file.more = "[[ports]]\nbind = \"0.0.0.0\"\nhost = 9000\nguest = 90\n";
  world_.Save();
  const auto machine = world_.NewMachine();
  const ApplyOptions trusting = Trusting(*machine, Up());
  FragileDisk disk(state_);
  disk.FailAll(ENOSPC);
  EXPECT_THAT(Apply(*machine, trusting).outcome.error, HasSubstr(state_.string()));
  EXPECT_THAT(machine->Trust({})->consented, IsEmpty());
  EXPECT_TRUE(world_.host->open.empty());
  disk.Fail(-1, 0);
  EXPECT_FALSE(Apply(*machine, trusting).outcome.failed);
  EXPECT_THAT(world_.NewMachine()->Trust({})->consented, SizeIs(1))
      << "also for the next controller";
}

}  // namespace
}  // namespace rum
