// What the agent says of its guest, and how it changes it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>

#include "agent-api/client/guest_agent.h"
#include "agent-api/protocol.h"
#include "tests/agent-api/client/agent_process.h"
#include "tests/agent-api/guest/folder.h"
#include "tests/agent-api/guest/private_etc.h"
#include "tests/controller/guests/by_process.h"
#include "tests/eventually.h"

namespace rum {
namespace {

using testing::ElementsAre;

class AgentState : public testing::Test {
 protected:
  static void SetUpTestSuite() { EnterPrivateEtc(); }
  void SetUp() override {
    FillEtc();
    process_ = std::make_unique<AgentProcess>(folder_ / "state");
    agent_ = ConnectByProcess(process_->opener(), nullptr);
    ASSERT_TRUE(agent_->WaitConnected(absl::Seconds(20)).ok());
  }
  agent::Observation Observe(const std::string& user = "dev") {
    agent::ObserveRequest request;
    request.set_user(user);
    const auto seen = agent_->Observe(request);
    EXPECT_TRUE(seen.ok()) << seen.status();
    return seen.ok() ? *seen : agent::Observation();
  }
  absl::StatusOr<agent::ScriptRun> RunScript(const std::string& id, const std::string& script) {
    agent::RunScriptRequest request;
    request.set_kind("boot");
    request.set_run_id(id);
    request.set_script(script);
    request.set_content_hash("hash");
    request.set_machine("dev");
    out_.clear();
    err_.clear();
    return agent_->RunScript(request, [&](const agent::RunScriptEvent& event) {
      out_ += event.standard_output();
      err_ += event.standard_error();
    });
  }

  const Folder folder_;
  std::unique_ptr<AgentProcess> process_;
  std::unique_ptr<GuestAgent> agent_;
  std::string out_;
  std::string err_;
};

TEST_F(AgentState, SetsTheTimezoneThatItTells) {
  EXPECT_TRUE(Observe().settings().has_timezone()) << "it can set it";
  agent::Settings wanted;
  wanted.set_timezone("Europe/Berlin");
  ASSERT_EQ(agent_->Set(wanted), absl::OkStatus());
  EXPECT_EQ(Observe().settings().timezone(), "Europe/Berlin");
  wanted.set_timezone("Europe/Nowhere");
  EXPECT_TRUE(absl::IsFailedPrecondition(agent_->Set(wanted)));
  EXPECT_EQ(Observe().settings().timezone(), "Europe/Berlin");
}

// Else a test of an agent on this host would take the host's own CPUs offline.
TEST_F(AgentState, CpusAndMemoryAreOnlyThoseThatItIsGiven) {
  EXPECT_FALSE(Observe().has_resources());
  agent::SetResourcesRequest request;
  request.set_cpus(1);
  EXPECT_TRUE(absl::IsUnimplemented(agent_->SetResources(request)));
}

// The same of this host's network cards.
TEST_F(AgentState, CardsAreNotSetUpByAnAgentOnThisHost) {
  EXPECT_FALSE(Observe().sets_up_cards());
  EXPECT_TRUE(absl::IsUnimplemented(agent_->SetCards(agent::SetCardsRequest())));
}

TEST_F(AgentState, BringsCpusAndMemoryOnlineAndTellsOfThem) {
  namespace fs = std::filesystem;
  const std::string system = folder_ / "system";
  for (const char* cpu : {"cpu0", "cpu1", "cpu2"}) fs::create_directories(system + "/cpu/" + cpu);
  Spill(system + "/cpu/online", "0\n");
  for (const char* cpu : {"cpu1", "cpu2"}) Spill(system + "/cpu/" + cpu + "/online", "0\n");
  fs::create_directories(system + "/memory/memory7");
  Spill(system + "/memory/block_size_bytes", "8000000\n");
  Spill(system + "/memory/memory7/state", "offline\n");
  process_ = std::make_unique<AgentProcess>(folder_ / "state", "", system);
  agent_ = ConnectByProcess(process_->opener(), nullptr);
  ASSERT_TRUE(agent_->WaitConnected(absl::Seconds(60)).ok());
  EXPECT_EQ(Slurp(system + "/memory/memory7/state"), "online_movable") << "from the start";
  Spill(system + "/memory/memory7/state", "offline\n");
  agent::Resources resources = Observe().resources();
  EXPECT_EQ(resources.cpus(), 1u);
  EXPECT_EQ(resources.cpus_there(), 3u);
  EXPECT_EQ(resources.offline_kib(), 128u * 1024);
  EXPECT_GT(resources.memory_kib(), resources.available_kib());
  agent::SetResourcesRequest request;
  ASSERT_EQ(agent_->SetResources(request), absl::OkStatus());
  EXPECT_EQ(Observe().resources().cpus(), 1u) << "as they are";
  EXPECT_EQ(Observe().resources().offline_kib(), 0u);
  request.set_cpus(2);
  ASSERT_EQ(agent_->SetResources(request), absl::OkStatus());
  EXPECT_EQ(Observe().resources().cpus(), 2u);
  EXPECT_EQ(Slurp(system + "/cpu/cpu1/online"), "1\n");
}

TEST_F(AgentState, SaysWhoItIsAndHowTheGuestStands) {
  const agent::Observation seen = Observe();
  EXPECT_EQ(seen.protocol(), kProtocol);
  EXPECT_EQ(seen.agent_version(), kAgentVersion);
  std::string boot_id;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot_id;
  EXPECT_EQ(seen.boot_id(), boot_id);
  EXPECT_EQ(seen.hostname(), "old");
  EXPECT_EQ(seen.static_hostname(), "old");
  EXPECT_TRUE(seen.user_exists());
  EXPECT_THAT(seen.groups(), ElementsAre("adm"));
  EXPECT_EQ(seen.runs_size(), 0);
  EXPECT_FALSE(Observe("ghost").user_exists());
}

TEST_F(AgentState, SetsAuthorizedKeysAndSeesThem) {
  agent::SetAuthorizedKeysRequest request;
  request.set_user("dev");
  request.add_add("ssh-ed25519 AAAA me@here");
  ASSERT_TRUE(agent_->SetAuthorizedKeys(request).ok());
  EXPECT_THAT(Observe().authorized_keys(), ElementsAre("ssh-ed25519 AAAA"));
}

TEST_F(AgentState, SetsTheHostnameInTheKernelAndBothFiles) {
  ASSERT_TRUE(agent_->SetHostname("devbox").ok());
  EXPECT_EQ(KernelHostname(), "devbox");
  EXPECT_EQ(Slurp("/etc/hostname"), "devbox\n");
  EXPECT_NE(Slurp("/etc/hosts").find("\n127.0.1.1\tdevbox\n"), std::string::npos);
  EXPECT_EQ(Observe().hostname(), "devbox");
  EXPECT_EQ(Observe().static_hostname(), "devbox");
  EXPECT_EQ(agent_->SetHostname("no host").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Observe().hostname(), "devbox");
}

TEST_F(AgentState, SetsTheNamedGroupsAndNoOthers) {
  agent::SetGroupsRequest request;
  request.set_user("dev");
  request.add_add("docker");
  request.add_add("kvm");
  request.add_remove("video");
  ASSERT_TRUE(agent_->SetGroups(request).ok());
  EXPECT_THAT(Observe().groups(), ElementsAre("adm", "docker", "kvm"));
  EXPECT_EQ(Slurp("/etc/group"),
            "root:x:0:\nadm:x:4:syslog,dev\nvideo:x:44:\ndocker:x:998:other,dev\ndev:x:1000:\n"
            "nogroup:x:65534:\nkvm:x:999:dev\n");
  request.Clear();
  request.set_user("dev");
  request.add_remove("docker");
  ASSERT_TRUE(agent_->SetGroups(request).ok());
  EXPECT_THAT(Observe().groups(), ElementsAre("adm", "kvm"));
  request.set_user("ghost");
  EXPECT_EQ(agent_->SetGroups(request).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(AgentState, RunsAScriptWithItsOutputAndRemembersIt) {
  const auto run = RunScript("run-1", "echo $RUM_MACHINE; echo bad >&2; hostname; exit 3");
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(out_, "dev\nold\n");
  EXPECT_EQ(err_, "bad\n");
  EXPECT_EQ(run->exit_status(), 3);
  EXPECT_EQ(run->signal(), 0);
  const agent::Observation seen = Observe();
  ASSERT_EQ(seen.runs_size(), 1);
  EXPECT_EQ(seen.runs(0).SerializeAsString(), run->SerializeAsString());
  const auto killed = RunScript("run-2", "kill -TERM $$");
  ASSERT_TRUE(killed.ok());
  EXPECT_EQ(killed->signal(), 15);
  EXPECT_EQ(RunScript("no/id", "true").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(AgentState, AScriptOfMuchOutputKeepsAllOfIt) {
  const auto run = RunScript("run-1", "head -c 5000000 /dev/zero | tr '\\0' x");
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_TRUE(out_ == std::string(5000000, 'x'));
}

TEST_F(AgentState, OneClientAfterAnotherFindsTheSameGuest) {
  ASSERT_TRUE(RunScript("run-1", "true").ok());
  for (int i = 0; i < 5; ++i) {
    agent_.reset();
    agent_ = ConnectByProcess(process_->opener(), nullptr);
    ASSERT_TRUE(agent_->WaitConnected(absl::Seconds(20)).ok());
    EXPECT_EQ(Observe().runs_size(), 1);
  }
}

TEST_F(AgentState, WithoutAnAgentItSaysSo) {
  process_->Kill();
  agent_ = ConnectByProcess([] { return absl::UnavailableError("no such channel"); }, nullptr);
  absl::Status late;
  // Its process has to be there to say why.
  EXPECT_TRUE(Eventually([&] {
    late = agent_->WaitConnected(absl::Milliseconds(50));
    return late.message().find("no such channel") != absl::string_view::npos;
  })) << late;
  EXPECT_EQ(late.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(agent_->Observe({}).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(agent_->SetHostname("x").code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(RunScript("run-1", "true").status().code(), absl::StatusCode::kUnavailable);
  absl::Status dialed;
  agent_->Dial(80, [&](absl::StatusOr<int> socket) { dialed = socket.status(); });
  EXPECT_EQ(dialed.code(), absl::StatusCode::kUnavailable);
}

TEST_F(AgentState, TellsWhenASessionBeginsAndEnds) {
  std::mutex mutex;
  std::condition_variable changed;
  int changes = 0;
  const auto counts = [&](int wanted) {
    std::unique_lock<std::mutex> guard(mutex);
    return changed.wait_for(guard, std::chrono::seconds(20), [&] { return changes >= wanted; });
  };
  agent_.reset();
  agent_ = ConnectByProcess(process_->opener(), [&] {
    const std::lock_guard<std::mutex> guard(mutex);
    ++changes;
    changed.notify_all();
  });
  EXPECT_TRUE(counts(1));
  process_->Kill();
  process_->Start();  // its RESET ends the session, which is when the host learns of it
  EXPECT_TRUE(counts(2));
  ASSERT_TRUE(agent_->WaitConnected(absl::Seconds(20)).ok());
  agent_.reset();
}

}  // namespace
}  // namespace rum
