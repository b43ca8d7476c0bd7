// The agent is killed and started again: what it did is known, and nothing is done twice.
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "agent-api/client/guest_agent.h"
#include "tests/agent-api/client/agent_process.h"
#include "tests/agent-api/guest/folder.h"
#include "tests/agent-api/guest/private_etc.h"
#include "tests/controller/guests/by_process.h"

namespace rum {
namespace {

class AgentRestart : public testing::Test {
 protected:
  static void SetUpTestSuite() { EnterPrivateEtc(); }
  void SetUp() override { Connect(); }
  void Connect() {
    agent_.reset();
    agent_ = ConnectByProcess(process_.opener(), nullptr);
    ASSERT_TRUE(agent_->WaitConnected(absl::Seconds(20)).ok());
  }
  absl::StatusOr<agent::ScriptRun> RunScript(const std::string& script) {
    agent::RunScriptRequest request;
    request.set_kind("system");
    request.set_run_id("run-1");
    request.set_script(script);
    out_.clear();
    return agent_->RunScript(
        request, [&](const agent::RunScriptEvent& event) { out_ += event.standard_output(); });
  }
  // Waits until the file has text, and gives its first line.
  std::string LineIn(const std::string& path) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    std::string text;
    while (text.find('\n') == std::string::npos && std::chrono::steady_clock::now() < deadline) {
      text = Slurp(path);
    }
    return text.substr(0, text.find('\n'));
  }
  // A command that never ends by itself, which the host must hear of when, after it has begun,
  // `break_it` is called.
  void ExpectThatACommandIsLost(const std::function<void()>& break_it) {
    std::string err;
    int exit_status = -1;
    bool sent = false;
    bool ended = false;
    std::mutex mutex;
    std::condition_variable changed;
    const absl::Status status = agent_->Exec(
        [&](agent::ExecInput* input) {
          if (!std::exchange(sent, true)) {
            for (const char* word : {"sh", "-c", "echo ready; exec sleep 1000"}) {
              input->mutable_start()->add_argv(word);
            }
            return true;
          }
          std::unique_lock<std::mutex> guard(mutex);
          changed.wait(guard, [&] { return ended; });
          return false;
        },
        [&](const agent::ExecOutput& output) {
          if (!output.standard_output().empty()) break_it();
          err += output.standard_error();
          const std::lock_guard<std::mutex> guard(mutex);
          if (output.has_exit_status()) exit_status = output.exit_status(), ended = true;
          changed.notify_all();
        });
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(exit_status, 255);
    EXPECT_NE(err.find("lost"), std::string::npos);
  }

  const Folder folder_;
  AgentProcess process_{folder_ / "state"};
  std::unique_ptr<GuestAgent> agent_;
  std::string out_;
};

TEST_F(AgentRestart, AScriptThatEndedIsNotRunAgain) {
  const std::string script = "echo once; echo x >> " + (folder_ / "count") + "; exit 5";
  const auto first = RunScript(script);
  ASSERT_TRUE(first.ok());
  process_.Kill();
  process_.Start();
  Connect();
  const auto seen = agent_->Observe({});
  ASSERT_TRUE(seen.ok());
  ASSERT_EQ(seen->runs_size(), 1);
  EXPECT_EQ(seen->runs(0).SerializeAsString(), first->SerializeAsString());
  const auto again = RunScript(script);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->SerializeAsString(), first->SerializeAsString());
  EXPECT_EQ(out_, "once\n");
  EXPECT_EQ(Slurp(folder_ / "count"), "x\n");
}

TEST_F(AgentRestart, AScriptGoesOnUnderTheNextAgentAndIsNotStartedAgain) {
  const std::string go = folder_ / "go";
  const std::string script = "echo first; echo $$ >> " + (folder_ / "pids") + "; while [ ! -e " +
                             go + " ]; do sleep 0.01; done; echo second; exit 4";
  std::thread first([&] { EXPECT_FALSE(RunScript(script).ok()); });
  const std::string pid = LineIn(folder_ / "pids");
  process_.Kill();
  process_.Start();
  first.join();
  Connect();
  Spill(go, "");
  const auto run = RunScript(script);
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(out_, "first\nsecond\n");
  EXPECT_EQ(run->exit_status(), 4);
  EXPECT_EQ(Slurp(folder_ / "pids"), pid + "\n");
}

TEST_F(AgentRestart, AScriptGoesOnWithoutItsSession) {
  const std::string go = folder_ / "go";
  const std::string script = "echo first; echo x >> " + (folder_ / "count") + "; while [ ! -e " +
                             go + " ]; do sleep 0.01; done; echo second; exit 4";
  std::thread first([&] { EXPECT_FALSE(RunScript(script).ok()); });
  LineIn(folder_ / "count");
  process_.BreakSession();
  first.join();
  ASSERT_TRUE(agent_->WaitConnected(absl::Seconds(20)).ok());
  Spill(go, "");
  const auto run = RunScript(script);
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(out_, "first\nsecond\n");
  EXPECT_EQ(run->exit_status(), 4);
  EXPECT_EQ(Slurp(folder_ / "count"), "x\n");
}

TEST_F(AgentRestart, ACommandDoesNotOutliveItsAgentUnnoticed) {
  ExpectThatACommandIsLost([this] {
    process_.Kill();
    process_.Start();
  });
}

TEST_F(AgentRestart, AnAgentThatIsToldToEndSaysSoAndNobodyWaitsForTheNextOne) {
  ExpectThatACommandIsLost([this] { kill(process_.pid(), SIGTERM); });
}

TEST_F(AgentRestart, ManyRestartsLeaveAWorkingSession) {
  for (int i = 0; i < 10; ++i) {
    process_.Kill();
    process_.Start();
    Connect();
    EXPECT_TRUE(agent_->SetHostname("round" + std::to_string(i)).ok());
    EXPECT_EQ(KernelHostname(), "round" + std::to_string(i));
  }
}

}  // namespace
}  // namespace rum
