#include "agent-api/guest/scripts.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "agent-api/guest/spawn.h"
#include "agent-api/guest/unattended_boot.h"
#include "tests/agent-api/guest/folder.h"
#include "tests/eventually.h"

namespace rum::guest {
namespace {

struct Outcome {
  absl::Status status;
  std::string out;
  std::string err;
  agent::ScriptRun run;
};

class ScriptsTest : public testing::Test {
 protected:
  static agent::RunScriptRequest Request(const std::string& id, const std::string& script,
                                         const std::string& kind = "boot") {
    agent::RunScriptRequest request;
    request.set_run_id(id);
    request.set_script(script);
    request.set_kind(kind);
    request.set_content_hash("hash-" + id);
    request.set_machine("dev");
    return request;
  }
  Outcome Run(const agent::RunScriptRequest& request) {
    Outcome outcome;
    outcome.status = scripts_->Run(request, [&](const agent::RunScriptEvent& event) {
      outcome.out += event.standard_output();
      outcome.err += event.standard_error();
      if (event.has_ended()) outcome.run = event.ended();
      return true;
    });
    return outcome;
  }
  // Another agent. The one before would have been killed: its threads know nothing of that.
  void Restart() { scripts_ = NewScripts(); }
  static bool Gone(int pid) {
    const std::string stat = Slurp("/proc/" + std::to_string(pid) + "/stat");
    return stat.empty() || stat.find(") Z ") != std::string::npos;
  }

  const Folder folder_;
  Scripts* scripts_ = NewScripts();

  // As long-lived as the process, whose threads use it.
  Scripts* NewScripts(const std::string& folder = "state") const {
    static auto* const all = new std::vector<std::unique_ptr<Scripts>>;
    all->push_back(
        std::make_unique<Scripts>(folder_ / folder, std::filesystem::absolute(RUM_AGENT)));
    return all->back().get();
  }
};

TEST_F(ScriptsTest, TellsOutputAndOutcome) {
  const Outcome o = Run(Request("one", "echo out; echo err >&2; exit 3"));
  ASSERT_TRUE(o.status.ok());
  EXPECT_EQ(o.out, "out\n");
  EXPECT_EQ(o.err, "err\n");
  EXPECT_EQ(o.run.run_id(), "one");
  EXPECT_EQ(o.run.kind(), "boot");
  EXPECT_EQ(o.run.content_hash(), "hash-one");
  EXPECT_EQ(o.run.boot_id(), BootId());
  EXPECT_EQ(o.run.exit_status(), 3);
  EXPECT_GT(o.run.started_ms(), 0);
  EXPECT_GE(o.run.ended_ms(), o.run.started_ms());
  ASSERT_EQ(scripts_->Runs().size(), 1u);
  EXPECT_EQ(scripts_->Runs()[0].exit_status(), 3);
  EXPECT_EQ(Run(Request("two", "kill -KILL $$")).run.signal(), SIGKILL);
}

TEST_F(ScriptsTest, OutputComesWhileItRuns) {
  const std::string go = folder_ / "go";
  std::string out;
  ASSERT_TRUE(scripts_
                  ->Run(Request("one", "echo first; while [ ! -e " + go +
                                           " ]; do sleep 0.01; done; echo second"),
                        [&](const agent::RunScriptEvent& event) {
                          out += event.standard_output();
                          if (out == "first\n") Spill(go, "");
                          return true;
                        })
                  .ok());
  EXPECT_EQ(out, "first\nsecond\n");
}

TEST_F(ScriptsTest, RunsInAGroupAndASessionOfItsOwnWithoutInput) {
  const Outcome o = Run(Request("one", "set -- $(cat /proc/$$/stat); echo $5 $6; echo $$ $$; cat"));
  EXPECT_EQ(o.out.substr(0, o.out.size() / 2), o.out.substr(o.out.size() / 2));
  EXPECT_EQ(o.run.exit_status(), 0);
}

TEST_F(ScriptsTest, KnowsWhatItIsRunFor) {
  const Outcome o = Run(Request("one", "echo $RUM_MACHINE $RUM_KIND $RUM_BOOT_ID $HOME; pwd"));
  EXPECT_EQ(o.out, "dev boot " + BootId() + " /root\n/\n");
}

TEST_F(ScriptsTest, AnInterpreterLineIsObeyed) {
  EXPECT_EQ(Run(Request("one", "#!/bin/cat\nhello\n")).out, "#!/bin/cat\nhello\n");
  const Outcome o = Run(Request("two", "#!/no/such/interpreter\n"));
  EXPECT_EQ(o.run.exit_status(), 127);
  EXPECT_NE(o.err.find("No such file"), std::string::npos) << o.err;
  EXPECT_NE(o.run.ended_ms(), 0);
}

TEST_F(ScriptsTest, AnyBytesOfAnyLengthAreKept) {
  const Outcome o = Run(Request("one", "head -c 3000000 /dev/zero; printf '\\377\\000' >&2"));
  EXPECT_TRUE(o.out == std::string(3000000, '\0'));
  EXPECT_EQ(o.err, std::string("\xff\0", 2));
}

TEST_F(ScriptsTest, IsStartedOnceHoweverManyAsk) {
  const std::string script = "echo x >> " + (folder_ / "count") + "; sleep 0.1; echo done; exit 4";
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      const Outcome o = Run(Request("one", script));
      EXPECT_EQ(o.out, "done\n");
      EXPECT_EQ(o.run.exit_status(), 4);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Run(Request("one", script)).out, "done\n");
  Restart();
  const Outcome o = Run(Request("one", script));
  EXPECT_EQ(o.out, "done\n");
  EXPECT_EQ(o.run.exit_status(), 4);
  EXPECT_EQ(Slurp(folder_ / "count"), "x\n");
}

TEST_F(ScriptsTest, GoesOnWhenNobodyFollows) {
  const std::string go = folder_ / "go";
  const auto request = Request(
      "one", "echo first; while [ ! -e " + go + " ]; do sleep 0.01; done; echo second; exit 6");
  ASSERT_TRUE(scripts_->Run(request, [](const agent::RunScriptEvent&) { return false; }).ok());
  EXPECT_EQ(scripts_->Runs()[0].ended_ms(), 0);
  Spill(go, "");
  const Outcome o = Run(request);
  EXPECT_EQ(o.out, "first\nsecond\n");
  EXPECT_EQ(o.run.exit_status(), 6);
}

TEST_F(ScriptsTest, RunsOfOneKindDoNotOverlap) {
  const std::string lock = folder_ / "lock";
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      const Outcome o = Run(Request("run-" + std::to_string(i),
                                    "mkdir " + lock + " || exit 9; sleep 0.02; rmdir " + lock));
      EXPECT_EQ(o.run.exit_status(), 0) << o.err;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(scripts_->Runs().size(), 4u);
}

TEST_F(ScriptsTest, RunsOfTwoKindsDo) {
  const std::string wait = "while [ ! -e " + (folder_ / "go") + " ]; do sleep 0.01; done";
  std::thread system([&] { EXPECT_EQ(Run(Request("s", wait, "system")).run.exit_status(), 0); });
  EXPECT_EQ(Run(Request("b", "touch " + (folder_ / "go"))).run.exit_status(), 0);
  system.join();
}

TEST_F(ScriptsTest, ARunThatABootInterruptedIsToldApartAndNotStartedAgain) {
  agent::ScriptRun run;
  run.set_run_id("one");
  run.set_kind("boot");
  run.set_boot_id("an-earlier-boot");
  run.set_started_ms(1);
  ASSERT_TRUE(Ledger(folder_ / "state/ledger").Put(run).ok());
  Restart();
  const Outcome o = Run(Request("one", "echo again"));
  EXPECT_EQ(o.out, "");
  EXPECT_EQ(o.run.ending(), agent::ScriptRun::INTERRUPTED);
  EXPECT_EQ(o.run.ended_ms(), 0);
  EXPECT_EQ(o.run.boot_id(), "an-earlier-boot");
  Restart();
  ASSERT_EQ(scripts_->Runs().size(), 1u);
  EXPECT_EQ(scripts_->Runs()[0].ending(), agent::ScriptRun::INTERRUPTED);
}

TEST_F(ScriptsTest, TheNextAgentFindsTheRunGoingOnAndItsOutputWhole) {
  const std::string go = folder_ / "go";
  const auto request = Request(
      "one", "echo first; while [ ! -e " + go + " ]; do sleep 0.01; done; echo second; exit 6");
  ASSERT_TRUE(scripts_->Run(request, [](const agent::RunScriptEvent&) { return false; }).ok());
  Restart();
  EXPECT_EQ(scripts_->Runs()[0].ended_ms(), 0);
  EXPECT_EQ(scripts_->Runs()[0].ending(), agent::ScriptRun::BY_ITSELF);
  Spill(go, "");
  const Outcome o = Run(request);
  EXPECT_EQ(o.out, "first\nsecond\n");
  EXPECT_EQ(o.run.exit_status(), 6);
  EXPECT_EQ(o.run.output_bytes(), 13u);
}

TEST_F(ScriptsTest, ARunThatEndedWithoutAnAgentIsKnownToTheNext) {
  ASSERT_TRUE(
      scripts_->Run(Request("one", "echo x; exit 5"), [](const auto&) { return false; }).ok());
  const std::string outcome = folder_ / "state/runs/one/outcome";
  ASSERT_TRUE(
      Eventually([&] { return !Slurp(outcome).empty() && scripts_->Runs()[0].ended_ms() != 0; }));
  agent::ScriptRun run = scripts_->Runs()[0];
  agent::ScriptRun begun = run;
  begun.clear_ended_ms(), begun.clear_exit_status(), begun.clear_output_bytes();
  ASSERT_TRUE(Ledger(folder_ / "state/ledger").Put(begun).ok());
  Restart();
  EXPECT_EQ(scripts_->Runs()[0].SerializeAsString(), run.SerializeAsString());
}

TEST_F(ScriptsTest, WithoutItsKeeperARunIsInterruptedAndItsScriptEnded) {
  const std::string pid = folder_ / "pid";
  std::thread follower([&] {
    const Outcome o = Run(Request("one", "echo $$ > " + pid + "; exec sleep 1000"));
    EXPECT_EQ(o.run.ending(), agent::ScriptRun::INTERRUPTED);
  });
  EXPECT_TRUE(Eventually([&] { return Slurp(pid).find('\n') != std::string::npos; }));
  kill(std::stoi(Slurp(folder_ / "state/runs/one/lock")), SIGKILL);
  follower.join();
  EXPECT_TRUE(Gone(std::stoi(Slurp(pid)))) << "the script goes on";
}

TEST_F(ScriptsTest, OutputCanBeHadFromAnyOffsetOn) {
  Run(Request("one", "printf 0123; sleep 0.1; printf 4567 >&2; sleep 0.1; printf 89"));
  for (uint64_t offset = 0; offset <= 10; ++offset) {
    std::string all;
    uint64_t next = offset;
    ASSERT_TRUE(scripts_
                    ->Follow("one", offset,
                             [&](const agent::RunScriptEvent& event) {
                               EXPECT_EQ(event.offset(), next);
                               const std::string bytes =
                                   event.standard_output() + event.standard_error();
                               EXPECT_TRUE(bytes.empty() || event.time_ms() > 0);
                               all += bytes;
                               next += bytes.size();
                               return true;
                             })
                    .ok());
    EXPECT_EQ(all, std::string("0123456789").substr(offset));
  }
  EXPECT_EQ(scripts_->Follow("two", 0, [](const auto&) { return true; }).code(),
            absl::StatusCode::kNotFound);
}

TEST_F(ScriptsTest, CancelEndsTheWholeGroup) {
  std::string child;
  std::thread follower([&] {
    const Outcome o = Run(Request("one", "sleep 1000 & echo $!; wait"));
    EXPECT_EQ(o.run.ending(), agent::ScriptRun::CANCELLED);
    EXPECT_EQ(o.run.signal(), SIGTERM);
    child = o.out;
  });
  ASSERT_TRUE(Eventually([&] { return scripts_->Cancel("one").ok(); }));
  follower.join();
  if (!child.empty()) {  // it was told to end after it said so
    EXPECT_TRUE(Eventually([&] { return Gone(std::stoi(child)); }));
  }
  EXPECT_EQ(scripts_->Cancel("two").code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(scripts_->Cancel("one").ok()) << "it has ended";
}

TEST_F(ScriptsTest, WhatDoesNotHearIsKilledTenSecondsAfterItsTime) {
  agent::RunScriptRequest request = Request("one", "trap '' TERM; sleep 1000 & wait; sleep 1000");
  request.set_timeout_s(1);
  const Outcome o = Run(request);
  EXPECT_EQ(o.run.ending(), agent::ScriptRun::TIMED_OUT);
  EXPECT_EQ(o.run.signal(), SIGKILL);
  EXPECT_GE(o.run.ended_ms() - o.run.started_ms(), 10900);
}

TEST_F(ScriptsTest, TwoWhoDecideAtOnceStartOne) {
  agent::RunScriptRequest first = Request("one", "true");
  first.set_last_run_id("");
  EXPECT_EQ(Run(first).run.run_id(), "one");
  agent::RunScriptRequest second = Request("two", "true");
  second.set_last_run_id("");
  EXPECT_EQ(Run(second).status.code(), absl::StatusCode::kAborted);
  second.set_last_run_id("one");
  EXPECT_EQ(Run(second).run.run_id(), "two");
  EXPECT_EQ(Run(first).run.run_id(), "one") << "a run that is known needs no last one";
}

TEST_F(ScriptsTest, TheKeptBootScriptRunsOnceInABoot) {
  agent::SetBootScriptRequest kept;
  kept.set_script("echo x >> " + (folder_ / "count"));
  kept.set_content_hash("0123456789abcdef");
  ASSERT_TRUE(scripts_->SetBootScript(kept).ok());
  Restart();
  EXPECT_EQ(scripts_->BootScriptHash(), "0123456789abcdef");
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(scripts_->RunBootScript().ok());
  ASSERT_TRUE(Eventually([&] { return scripts_->Runs()[0].ended_ms() != 0; }));
  Restart();
  EXPECT_TRUE(scripts_->RunBootScript().ok());
  ASSERT_EQ(scripts_->Runs().size(), 1u);
  EXPECT_EQ(scripts_->Runs()[0].content_hash(), "0123456789abcdef");
  EXPECT_EQ(Slurp(folder_ / "count"), "x\n");
}

TEST_F(ScriptsTest, ABootScriptThatRanIsKeptUntilItIsTakenBack) {
  Run(Request("one", "exit 3"));
  Restart();
  EXPECT_EQ(scripts_->BootScriptHash(), "hash-one");
  ASSERT_TRUE(scripts_->SetBootScript({}).ok());
  Restart();
  EXPECT_EQ(scripts_->BootScriptHash(), "");
  EXPECT_TRUE(scripts_->RunBootScript().ok());
  EXPECT_EQ(scripts_->Runs().size(), 1u);
}

// An agent that boots with a script from an earlier boot.
class Unattended : public ScriptsTest {
 protected:
  Unattended() { Keep(scripts_); }
  static void Keep(Scripts* scripts) {
    agent::SetBootScriptRequest kept;
    kept.set_script("true");
    kept.set_content_hash("hash");
    EXPECT_TRUE(scripts->SetBootScript(kept).ok());
  }
};

TEST_F(Unattended, WithoutAHostTheAgentRunsTheBootScript) {
  static auto* const boot = new UnattendedBoot(scripts_, std::chrono::milliseconds(50));
  ASSERT_NE(boot, nullptr);
  EXPECT_TRUE(Eventually([&] { return scripts_->Runs().size() == 1; }));
}

TEST_F(Unattended, AHostThatIsThereDecidesUntilItGoes) {
  constexpr std::chrono::milliseconds kPatience{500};
  int session[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, session), 0);
  static auto* const boot = new UnattendedBoot(scripts_, kPatience);
  boot->HostCame(session[0]);
  // Another one begins later, and no host comes to it.
  Scripts* const alone = NewScripts("alone");
  Keep(alone);
  static auto* const other = new UnattendedBoot(alone, kPatience);
  ASSERT_NE(other, nullptr);
  EXPECT_TRUE(Eventually([&] { return alone->Runs().size() == 1; }));
  EXPECT_TRUE(scripts_->Runs().empty());
  close(session[1]);
  EXPECT_TRUE(Eventually([&] { return scripts_->Runs().size() == 1; }));
  close(session[0]);
}

TEST_F(ScriptsTest, AProcessLeftBehindHoldsNothingUp) {
  const Outcome o = Run(Request("one", "sleep 1000 & echo $!"));
  EXPECT_EQ(kill(std::stoi(o.out), SIGKILL), 0);
  EXPECT_EQ(Run(Request("two", "yes & exit 3")).run.exit_status(), 3);
}

TEST_F(ScriptsTest, TheOutcomeOutlivesTheOutput) {
  for (int i = 0; i < 25; ++i) Run(Request("run-" + std::to_string(i), "echo x; exit 5"));
  size_t kept = 0;
  for ([[maybe_unused]] const auto& entry :
       std::filesystem::directory_iterator(folder_ / "state/runs")) {
    ++kept;
  }
  EXPECT_EQ(kept, 10u);
  const Outcome o = Run(Request("run-0", "echo never"));
  EXPECT_EQ(o.out, "");
  EXPECT_EQ(o.run.exit_status(), 5);
}

TEST_F(ScriptsTest, DamagedOutputDoesNotHideTheOutcome) {
  Run(Request("one", "echo x; exit 5"));
  for (const std::string& damage :
       {std::string("\x01"), std::string("\x01\xff\xff\xff\xff zzz"), std::string("\x02\x05")}) {
    Spill(folder_ / "state/runs/one/output-00000000000000000000", damage);
    EXPECT_EQ(Run(Request("one", "")).run.exit_status(), 5);
  }
}

TEST_F(ScriptsTest, OddIdsAreRefused) {
  for (const std::string& id : {std::string(), std::string("../one"), std::string("a b"),
                                std::string("a/b"), std::string(65, 'a'), std::string("a\0", 2)}) {
    EXPECT_EQ(Run(Request(id, "true")).status.code(), absl::StatusCode::kInvalidArgument) << id;
  }
  EXPECT_TRUE(Run(Request(std::string(64, 'a'), "true")).status.ok());
}

TEST_F(ScriptsTest, WithoutALedgerNothingRuns) {
  std::filesystem::create_directory(folder_ / "state/ledger");
  Restart();
  EXPECT_FALSE(Run(Request("one", "touch " + (folder_ / "ran"))).status.ok());
  EXPECT_FALSE(std::filesystem::exists(folder_ / "ran"));
}

// A child of another thread's, between its fork and its exec, would hold the script open.
TEST_F(ScriptsTest, CommandsBesideItDoNotMakeTheScriptBusy) {
  std::atomic<bool> stop = false;
  std::vector<std::thread> others;
  for (int i = 0; i < 2; ++i) {
    others.emplace_back([&] {
      while (!stop) {
        SpawnRequest request;
        request.argv = {"/bin/true"};
        const auto child = Spawn(request);
        if (child.ok()) Reap(*child);
      }
    });
  }
  for (int i = 0; i < 40; ++i) {
    EXPECT_EQ(Run(Request("run-" + std::to_string(i), "#!/bin/sh\nexit 5\n")).run.exit_status(), 5);
  }
  stop = true;
  for (std::thread& other : others) other.join();
}

}  // namespace
}  // namespace rum::guest
