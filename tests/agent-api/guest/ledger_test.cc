#include "agent-api/guest/ledger.h"

#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "tests/agent-api/guest/folder.h"

namespace rum::guest {
namespace {

using google::protobuf::util::MessageDifferencer;

agent::ScriptRun SampleRun(const std::string& id) {
  agent::ScriptRun run;
  run.set_kind("boot");
  run.set_content_hash("abc");
  run.set_boot_id("b-1");
  run.set_run_id(id);
  run.set_started_ms(1000);
  run.set_ended_ms(2000);
  run.set_exit_status(3);
  run.set_signal(0);
  return run;
}

TEST(Ledger, IsThereAgainAsItWas) {
  const Folder folder;
  Ledger ledger(folder / "ledger");
  EXPECT_TRUE(ledger.runs().empty());
  ASSERT_TRUE(ledger.Put(SampleRun("one")).ok());
  ASSERT_TRUE(ledger.Put(SampleRun("two")).ok());
  const Ledger again(folder / "ledger");
  ASSERT_EQ(again.runs().size(), 2u);
  EXPECT_TRUE(MessageDifferencer::Equals(again.runs()[0], SampleRun("one")));
  EXPECT_TRUE(MessageDifferencer::Equals(*again.Find("two"), SampleRun("two")));
  EXPECT_FALSE(again.Find("three").has_value());
}

TEST(Ledger, ARunOfTheSameIdIsReplacedInItsPlace) {
  const Folder folder;
  Ledger ledger(folder / "ledger");
  agent::ScriptRun run = SampleRun("one");
  run.clear_ended_ms();
  ASSERT_TRUE(ledger.Put(run).ok());
  ASSERT_TRUE(ledger.Put(SampleRun("two")).ok());
  ASSERT_TRUE(ledger.Put(SampleRun("one")).ok());
  ASSERT_EQ(ledger.runs().size(), 2u);
  EXPECT_EQ(ledger.runs()[0].run_id(), "one");
  EXPECT_EQ(ledger.runs()[0].ended_ms(), 2000);
}

TEST(Ledger, KeepsTheLastRunsOfEachKindAndItsLastSuccess) {
  const Folder folder;
  Ledger ledger(folder / "ledger");
  agent::ScriptRun system = SampleRun("system");
  system.set_kind("system");
  system.set_exit_status(0);
  ASSERT_TRUE(ledger.Put(system).ok());
  for (int i = 0; i < 201; ++i) {
    agent::ScriptRun run = SampleRun(std::to_string(i));
    if (i == 5) run.set_exit_status(0);
    ASSERT_TRUE(ledger.Put(run).ok());
  }
  ASSERT_EQ(ledger.runs().size(), 72u);
  EXPECT_EQ(ledger.runs()[0].run_id(), "system") << "two hundred boots later";
  EXPECT_EQ(ledger.runs()[1].run_id(), "5");
  EXPECT_EQ(ledger.runs()[2].run_id(), "131");
  EXPECT_EQ(ledger.runs().back().run_id(), "200");
}

TEST(Ledger, DamagedLinesDoNotHideTheOthersAndAreKept) {
  const Folder folder;
  {
    Ledger ledger(folder / "ledger");
    ASSERT_TRUE(ledger.Put(SampleRun("one")).ok());
    ASSERT_TRUE(ledger.Put(SampleRun("two")).ok());
  }
  const std::string whole = Slurp(folder / "ledger");
  const std::string damaged = "{\"runId\": 7\n\n" + std::string("\0\0\xff", 3) + "\n[]\n{}\n" +
                              whole.substr(0, whole.size() - 10);
  Spill(folder / "ledger", damaged);
  Ledger ledger(folder / "ledger");
  ASSERT_EQ(ledger.runs().size(), 1u);  // the last line was cut
  EXPECT_EQ(ledger.runs()[0].run_id(), "one");
  EXPECT_EQ(Slurp(folder / "ledger.damaged"), damaged);
  ASSERT_TRUE(ledger.Put(SampleRun("three")).ok());
  EXPECT_EQ(Ledger(folder / "ledger").runs().size(), 2u);
}

TEST(Ledger, CutAnywhereItKeepsTheWholeLines) {
  const Folder folder;
  Ledger ledger(folder / "ledger");
  ASSERT_TRUE(ledger.Put(SampleRun("one")).ok());
  const size_t first = Slurp(folder / "ledger").size();
  ASSERT_TRUE(ledger.Put(SampleRun("two")).ok());
  const std::string whole = Slurp(folder / "ledger");
  for (size_t size = 0; size <= whole.size(); ++size) {
    Spill(folder / "cut", whole.substr(0, size));
    const size_t lines = size + 1 >= whole.size() ? 2 : size + 1 >= first ? 1 : 0;
    ASSERT_EQ(Ledger(folder / "cut").runs().size(), lines) << size;
  }
}

TEST(Ledger, AfterACutLineTheNextOneBeginsItsOwn) {
  const Folder folder;
  {
    Ledger ledger(folder / "ledger");
    ASSERT_TRUE(ledger.Put(SampleRun("one")).ok());
    ASSERT_TRUE(ledger.Put(SampleRun("two")).ok());
  }
  const std::string whole = Slurp(folder / "ledger");
  for (size_t cut = 1; cut < whole.size(); ++cut) {
    Spill(folder / "ledger", whole.substr(0, whole.size() - cut));
    Ledger ledger(folder / "ledger");
    const size_t left = ledger.runs().size();
    ASSERT_TRUE(ledger.Put(SampleRun("three")).ok());
    const Ledger again(folder / "ledger");
    ASSERT_EQ(again.runs().size(), left + 1) << cut;
    ASSERT_TRUE(MessageDifferencer::Equals(again.runs().back(), SampleRun("three"))) << cut;
  }
}

TEST(Ledger, LinesThatAreOldDoNotGatherForEver) {
  const Folder folder;
  Ledger ledger(folder / "ledger");
  agent::ScriptRun run = SampleRun("one");
  ASSERT_TRUE(ledger.Put(run).ok());
  const size_t line = Slurp(folder / "ledger").size();
  for (int i = 0; i < 500; ++i) {
    run.set_exit_status(i);
    ASSERT_TRUE((i % 2 == 0 ? ledger.Put(run) : ledger.PutEnd(run)).ok());
    ASSERT_LT(Slurp(folder / "ledger").size(), 80 * line);
    ASSERT_EQ(Ledger(folder / "ledger").Find("one")->exit_status(), i);
  }
}

TEST(Ledger, OneThatWasTakenAwayIsWrittenAgain) {
  const Folder folder;
  Ledger ledger(folder / "ledger");
  ASSERT_TRUE(ledger.Put(SampleRun("one")).ok());
  std::filesystem::remove(folder / "ledger");
  ASSERT_TRUE(ledger.Put(SampleRun("two")).ok());
  EXPECT_EQ(Ledger(folder / "ledger").runs().size(), 2u);
}

TEST(Ledger, ALineOfANewerAgentIsUnderstood) {
  const Folder folder;
  Spill(folder / "ledger", "{\"kind\":\"boot\",\"runId\":\"one\",\"colour\":\"red\"}\n");
  EXPECT_TRUE(Ledger(folder / "ledger").Find("one").has_value());
}

TEST(Ledger, OneThatCannotBeReadIsNotReplaced) {
  const Folder folder;
  std::filesystem::create_directory(folder / "ledger");
  Ledger ledger(folder / "ledger");
  EXPECT_FALSE(ledger.Put(SampleRun("one")).ok());
  EXPECT_TRUE(ledger.runs().empty());
  EXPECT_TRUE(std::filesystem::is_directory(folder / "ledger"));
}

TEST(Ledger, WhatIsNotOnDiskIsNotClaimed) {
  const Folder folder;
  Ledger ledger(folder / "gone/ledger");
  EXPECT_FALSE(ledger.Put(SampleRun("one")).ok());
  EXPECT_TRUE(ledger.runs().empty());
}

TEST(Ledger, TheBootHasAnId) {
  EXPECT_EQ(BootId().size(), 36u);
  EXPECT_EQ(BootId(), BootId());
}

}  // namespace
}  // namespace rum::guest
