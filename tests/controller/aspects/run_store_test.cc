#include "controller/aspects/run_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/agent-api/guest/folder.h"
#include "tests/controller/fake_world.h"

namespace rum {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

agent::RunScriptEvent Output(uint64_t offset, const std::string& bytes, bool error = false) {
  agent::RunScriptEvent event;
  event.set_offset(offset);
  event.set_time_ms(5);
  *(error ? event.mutable_standard_error() : event.mutable_standard_output()) = bytes;
  return event;
}

agent::RunScriptEvent Ended(const std::string& id, int64_t started_ms,
                            const std::string& kind = "boot") {
  agent::RunScriptEvent event;
  event.mutable_ended()->set_run_id(id);
  event.mutable_ended()->set_kind(kind);
  event.mutable_ended()->set_started_ms(started_ms);
  event.mutable_ended()->set_ended_ms(started_ms + 1);
  return event;
}

std::vector<std::string> Ids(const RunStore& store) {
  std::vector<std::string> ids;
  for (const agent::ScriptRun& run : store.Runs("m")) ids.push_back(run.run_id());
  return ids;
}

std::string OutputOf(const RunStore& store, const std::string& id, const std::string& run_id) {
  RunLogReader log(store.FolderOf(id, run_id), 0);
  std::string all;
  for (OutputPiece piece; log.Next(&piece);) all += piece.bytes;
  return all;
}

TEST(RunStore, KeepsEachByteOnceHoweverOftenItIsHeard) {
  const Folder folder;
  {
    RunStore store(folder / "runs");
    store.Take("m", "one", Output(0, "abc"));
    store.Take("m", "one", Output(0, "abcd"));
    EXPECT_EQ(store.End("m", "one"), 4u);
    EXPECT_FALSE(store.Whole("m", "one"));
  }
  RunStore next(folder / "runs");  // of the next controller
  EXPECT_EQ(next.End("m", "one"), 4u);
  next.Take("m", "one", Output(2, "cdef", true));
  next.Take("m", "one", Ended("one", 1));
  EXPECT_EQ(OutputOf(next, "m", "one"), "abcdef");
  EXPECT_TRUE(next.Whole("m", "one"));
  EXPECT_THAT(Ids(next), ElementsAre("one"));
}

TEST(RunStore, KeepsTheLastTenOfEachKind) {
  const Folder folder;
  RunStore store(folder / "runs");
  for (int i = 0; i < 13; ++i)
    store.Take("m", "b-" + std::to_string(i), Ended("b-" + std::to_string(i), i));
  store.Take("m", "s", Ended("s", 0, "system"));
  EXPECT_THAT(store.Runs("m"), SizeIs(11));
  EXPECT_THAT(OutputOf(store, "m", "b-0"), "");
  EXPECT_FALSE(std::filesystem::exists(folder / "runs/m/b-2"));
  EXPECT_TRUE(std::filesystem::exists(folder / "runs/m/b-3"));
  google::protobuf::RepeatedPtrField<agent::ScriptRun> ledger;
  ledger.Add()->set_run_id("old");
  for (int i = 0; i < 13; ++i) ledger.Add()->set_run_id("b-" + std::to_string(i));
  store.Order("m", ledger);
  store.Take("m", "old", Ended("old", -1));
  EXPECT_FALSE(std::filesystem::exists(folder / "runs/m/old")) << "older than those that are kept";
  store.Remove("m");
  EXPECT_THAT(store.Runs("m"), IsEmpty());
}

TEST(RunStore, TheNewestRunStaysThoughTheGuestsClockWasPutBack) {
  const Folder folder;
  google::protobuf::RepeatedPtrField<agent::ScriptRun> ledger;
  {
    RunStore store(folder / "runs");
    for (int i = 0; i < 12; ++i) {
      const std::string id = "b-" + std::to_string(i);
      ledger.Add()->set_run_id(id);
      store.Take("m", id, Ended(id, i == 11 ? 5 : 1'700'000'000'000 + i));  // 1970
    }
    EXPECT_EQ(Ids(store).back(), "b-11");
    EXPECT_THAT(Ids(store), SizeIs(10));
  }
  RunStore next(folder / "runs");  // of the next controller, which is told the order
  next.Order("m", ledger);
  EXPECT_EQ(Ids(next).back(), "b-11");
  EXPECT_EQ(Ids(next).front(), "b-2");
  next.Take("m", "b-12", Ended("b-12", 6));
  EXPECT_EQ(Ids(next).front(), "b-3");
  EXPECT_EQ(Ids(next).back(), "b-12");
}

TEST(RunStore, AGuestCannotNameAFileOfTheHosts) {
  const Folder folder;
  RunStore store(folder / "runs");
  for (const std::string& id : {std::string("../../evil"), std::string("a/b"), std::string("."),
                                std::string(), std::string(65, 'a'), std::string("a\0b", 3)}) {
    store.Take("m", id, Output(0, "x"));
    store.Take("m", id, Ended(id, 1));
    EXPECT_TRUE(store.Whole("m", id)) << "nothing to fetch";
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "runs"));
  EXPECT_FALSE(std::filesystem::exists(folder / "evil"));
}

class ScriptOutput : public testing::Test {
 protected:
  ScriptOutput() { world_.runs = std::make_shared<RunStore>(folder_ / "runs"); }
  std::string Log(Machine& machine, const std::string& run_id) {
    std::string all;
    EXPECT_TRUE(machine.archive()
                    .Log(run_id, false,
                         [&](const agent::RunScriptEvent& event) {
                           all += event.standard_output() + event.standard_error();
                           return true;
                         })
                    .ok());
    return all;
  }

  const Folder folder_;
  FakeWorld world_;
};

TEST_F(ScriptOutput, OfAnUpIsKept) {
  const auto machine = world_.NewMachine();
  ASSERT_FALSE(Apply(*machine, Up()).outcome.failed);
  const std::vector<agent::ScriptRun> runs = machine->archive().Runs();
  ASSERT_THAT(runs, SizeIs(2));
  EXPECT_EQ(runs[0].kind(), "system");
  EXPECT_EQ(Log(*machine, runs[0].run_id()), "output of system 1\n");
  EXPECT_EQ(Log(*machine, runs[1].run_id()), "output of boot 1\n");
}

TEST_F(ScriptOutput, OfARunThatNobodyWatchedIsFetchedLater) {
  const auto machine = world_.NewMachine();
  ASSERT_FALSE(Apply(*machine, Up()).outcome.failed);
  {
    const std::lock_guard<std::mutex> guard(world_.guest->mutex);
    agent::ScriptRun run = world_.guest->runs.back();
    run.set_run_id("boot-agent");
    run.set_boot_id("boot-2");
    run.set_started_ms(5000);
    world_.guest->runs.push_back(run);
    world_.guest->outputs["boot-agent"] = "by itself\n";
  }
  world_.guest->Reboot("boot-2");
  ASSERT_TRUE(machine->Background({}).ok());
  EXPECT_EQ(world_.guest->TimesRun("boot 1"), 1) << "the agent had run it in this boot";
  const auto next = world_.NewMachine();
  EXPECT_EQ(Log(*next, "boot-agent"), "by itself\n");
}

TEST_F(ScriptOutput, ProvisionRunsWhatHasRunAndSaysWhatIsNotThere) {
  const auto machine = world_.NewMachine();
  ASSERT_FALSE(Apply(*machine, Up()).outcome.failed);
  ApplyOptions provision;
  provision.rerun_boot = true;
  EXPECT_THAT(Apply(*machine, provision).done, ElementsAre("Re-ran boot provisioning script"));
  provision.rerun_system = true;
  EXPECT_THAT(Apply(*machine, provision).done,
              ElementsAre("Re-ran system provisioning script", "Re-ran boot provisioning script"));
  EXPECT_EQ(world_.guest->TimesRun("boot 1"), 3);
  EXPECT_EQ(world_.guest->TimesRun("system 1"), 2);
  world_.file.boot = "";
  world_.Save();
  provision.rerun_system = false;
  EXPECT_THAT(Apply(*machine, provision).outcome.error, HasSubstr("no provision.boot.script"));
}

TEST_F(ScriptOutput, ABootScriptThatLeftTheFileIsTakenBack) {
  const auto machine = world_.NewMachine();
  ASSERT_FALSE(Apply(*machine, Up()).outcome.failed);
  EXPECT_NE(world_.guest->boot_script_hash, "");
  world_.file.boot = "";
  world_.Save();
  EXPECT_THAT(Apply(*machine).done, ElementsAre("Took the boot provisioning script back"));
  EXPECT_EQ(world_.guest->boot_script_hash, "");
  EXPECT_EQ(Apply(*machine).outcome.actions, 0);
}

TEST_F(ScriptOutput, GoesWithTheMachine) {
  const auto machine = world_.NewMachine();
  ASSERT_FALSE(Apply(*machine, Up()).outcome.failed);
  ASSERT_FALSE(machine->Destroy({}).failed);
  EXPECT_THAT(world_.runs->Runs(world_.identity.id), IsEmpty());
}

}  // namespace
}  // namespace rum
