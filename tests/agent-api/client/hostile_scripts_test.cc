// What scripts do that nobody should: each has an outcome, docs/provisioning.md names it. On the
// real agent, in a hostname and an /etc of its own.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "agent-api/client/guest_agent.h"
#include "tests/agent-api/client/agent_process.h"
#include "tests/agent-api/guest/folder.h"
#include "tests/agent-api/guest/private_etc.h"
#include "tests/controller/guests/by_process.h"

namespace rum {
namespace {

struct Outcome {
  std::string out;
  std::string err;
  agent::ScriptRun run;
  uint64_t missing = 0;  // bytes of output that were not kept
};

class HostileScripts : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    EnterPrivateEtc();
    prctl(PR_SET_CHILD_SUBREAPER, 1);  // what a guest's init does
  }
  void SetUp() override {
    agent_ = ConnectByProcess(process_.opener(), nullptr);
    ASSERT_TRUE(agent_->WaitConnected(absl::Seconds(60)).ok());
  }

  Outcome Run(const std::string& script, const std::string& id = "one") {
    Outcome outcome;
    uint64_t at = 0;
    agent::RunScriptRequest request;
    request.set_kind("boot");
    request.set_run_id(id);
    request.set_script(script);
    const auto run = agent_->RunScript(request, [&](const agent::RunScriptEvent& event) {
      const std::string bytes = event.standard_output() + event.standard_error();
      if (!bytes.empty())
        outcome.missing += event.offset() - at, at = event.offset() + bytes.size();
      outcome.out += event.standard_output();
      outcome.err += event.standard_error();
    });
    EXPECT_TRUE(run.ok()) << run.status();
    if (run.ok()) outcome.run = *run, outcome.missing += run->output_bytes() - at;
    return outcome;
  }

  const Folder folder_;
  AgentProcess process_{folder_ / "state"};
  std::unique_ptr<GuestAgent> agent_;
};

TEST_F(HostileScripts, WithNulBytesAreReadByTheShellAsItDoes) {
  const std::string script("echo before\n\0\necho after\n", 25);
  const Outcome o = Run(script);
  EXPECT_EQ(Slurp(folder_ / "state/runs/one/script"), script) << "not a byte is changed";
  EXPECT_EQ(o.out.substr(0, 7), "before\n") << o.err;
  EXPECT_NE(o.run.ended_ms(), 0);
}

TEST_F(HostileScripts, OfAMegabyteRun) {
  const Outcome o = Run("echo begin\n" + std::string(1024 * 1024, '#') + "\necho end\n");
  EXPECT_EQ(o.out, "begin\nend\n");
  EXPECT_EQ(o.run.exit_status(), 0);
}

TEST_F(HostileScripts, WithCarriageReturnsAreNotMended) {
  const Outcome shell = Run("echo a\r\ntrue\r\n");
  EXPECT_EQ(shell.out, "a\r\n");
  EXPECT_EQ(shell.run.exit_status(), 127) << "there is no command true\\r";
  const Outcome shebang = Run("#!/bin/sh\r\necho a\r\n", "two");
  EXPECT_EQ(shebang.run.exit_status(), 127) << "there is no /bin/sh\\r";
  EXPECT_NE(shebang.err.find("No such file"), std::string::npos) << shebang.err;
}

TEST_F(HostileScripts, WithoutAFinalNewlineRunToTheirEnd) {
  EXPECT_EQ(Run("echo a\nprintf b").out, "a\nb");
}

TEST_F(HostileScripts, ThatDaemoniseEndWithTheirFirstProcess) {
  const Outcome o =
      Run("setsid sh -c 'echo $$ > " + (folder_ / "pid") + "; exec sleep 1000' & while [ ! -s " +
          (folder_ / "pid") + " ]; do sleep 0.01; done; echo up; exit 4");
  EXPECT_EQ(o.out, "up\n");
  EXPECT_EQ(o.run.exit_status(), 4);
  const int daemon = std::atoi(Slurp(folder_ / "pid").c_str());
  EXPECT_EQ(kill(daemon, SIGKILL), 0) << "what it left behind goes on";
}

TEST_F(HostileScripts, ThatForkFiveHundredChildrenAreOneRun) {
  const Outcome o =
      Run("i=0; while [ $i -lt 500 ]; do (echo child) & i=$((i+1)); done; wait; echo all");
  size_t children = 0;
  for (size_t at = 0; (at = o.out.find("child\n", at)) != std::string::npos; ++at) ++children;
  EXPECT_EQ(children, 500u);
  EXPECT_EQ(o.run.exit_status(), 0) << o.err;
}

TEST_F(HostileScripts, ThatCloseTheirOutputsGoOnToTheirEnd) {
  const Outcome o =
      Run("echo said; exec >&- 2>&-; sleep 0.2; echo x > " + (folder_ / "mark") + "; exit 5");
  EXPECT_EQ(o.out, "said\n");
  EXPECT_EQ(o.run.exit_status(), 5);
  EXPECT_EQ(Slurp(folder_ / "mark"), "x\n");
}

TEST_F(HostileScripts, ThatChangeTheirOwnFileChangeNoOther) {
  EXPECT_EQ(Run("rm -f $0; echo 'echo changed' > $0; chmod 0 $0; exit 6").run.exit_status(), 6);
  EXPECT_EQ(Run("echo two", "two").out, "two\n") << "the next run is as it should be";
}

TEST_F(HostileScripts, ThatRemoveTheFolderOfTheirRunAreInterruptedForNobodyKnowsHowTheyEnded) {
  EXPECT_EQ(Run("rm -rf ${0%/*}; exit 6").run.ending(), agent::ScriptRun::INTERRUPTED);
  EXPECT_EQ(Run("echo two", "two").out, "two\n");
}

TEST_F(HostileScripts, ThatFillTheDiskEndAndAreKnownToHave) {
  const std::string small = folder_ / "small";
  std::filesystem::create_directory(small);
  ASSERT_EQ(mount("tmpfs", small.c_str(), "tmpfs", 0, "size=2m"), 0);
  {
    AgentProcess process(small + "/state");
    std::unique_ptr<GuestAgent> agent = ConnectByProcess(process.opener(), nullptr);
    ASSERT_TRUE(agent->WaitConnected(absl::Seconds(60)).ok());
    agent_.swap(agent);
    const Outcome o = Run("cat /dev/zero > " + small + "/fill; echo full; exit 7");
    EXPECT_EQ(o.run.exit_status(), 7);
    EXPECT_EQ(o.run.output_bytes(), o.out.size() + o.err.size() + o.missing);
    std::filesystem::remove(small + "/fill");
    process.Kill();
    process.Start();
    agent_ = ConnectByProcess(process.opener(), nullptr);
    ASSERT_TRUE(agent_->WaitConnected(absl::Seconds(60)).ok());
    EXPECT_EQ(Run("echo again").run.exit_status(), 7) << "the end is known to the next agent too";
    agent_.reset();
  }
  umount2(small.c_str(), MNT_DETACH);
}

}  // namespace
}  // namespace rum
