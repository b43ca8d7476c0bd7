// What a GuestAgent does with its guest, whoever's it is: the real client of the real agent, by a
// process as the controller has it and without, and the fake that other tests have in its place.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent-api/client/guest_agent.h"
#include "agent-api/protocol.h"
#include "tests/agent-api/client/agent_process.h"
#include "tests/agent-api/guest/folder.h"
#include "tests/agent-api/guest/private_etc.h"
#include "tests/controller/guests/by_process.h"
#include "tests/fakes/guest/fake_guest_agent.h"

namespace rum {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr absl::Duration kPatience = absl::Seconds(60);
constexpr char kKey[] = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA";

// A guest like those of FillEtc(), with an agent of one kind for it.
class Guest {
 public:
  virtual ~Guest() = default;
  virtual std::unique_ptr<GuestAgent> Agent() = 0;
  // What FillEtc() does where there is no /etc.
  virtual void Reset() {}
  virtual void Disconnect() = 0;
  // A script that writes `says` and ends so; what it writes may be more.
  struct Script {
    std::string text;
    std::string output;
  };
  virtual Script Says(const std::string& says, int exit_status) = 0;
};

class RealGuest : public Guest {
 public:
  explicit RealGuest(bool by_process) : by_process_(by_process) {}

  std::unique_ptr<GuestAgent> Agent() override {
    const ChannelOpener open = [this]() -> absl::StatusOr<int> {
      if (gone_) return absl::UnavailableError("the machine is off");
      return agent_.opener()();
    };
    return by_process_ ? ConnectByProcess(open) : ConnectGuestAgent(open, nullptr);
  }
  void Disconnect() override {
    gone_ = true;
    agent_.BreakSession();
    agent_.Kill();
  }
  Script Says(const std::string& says, int exit_status) override {
    return {absl::StrCat("echo ", says, "; exit ", exit_status), says + "\n"};
  }

 private:
  const bool by_process_;
  const Folder folder_;
  AgentProcess agent_{folder_ / "state"};
  std::atomic<bool> gone_ = false;
};

class GuestInMemory : public Guest {
 public:
  std::unique_ptr<GuestAgent> Agent() override { return std::make_unique<FakeGuestAgent>(guest_); }
  void Reset() override {
    guest_->hostname = guest_->static_hostname = "old";
    guest_->groups = {"adm"};
    guest_->keys.clear();
  }
  void Disconnect() override { guest_->SetConnected(false); }
  Script Says(const std::string& says, int exit_status) override {
    guest_->exit_statuses[says] = exit_status;
    return {says, "output of " + says + "\n"};
  }

 private:
  const std::shared_ptr<FakeGuest> guest_ = std::make_shared<FakeGuest>();
};

struct Kind {
  std::string name;
  std::unique_ptr<Guest> (*make)();
};

// A guest and its agent.
struct Pair {
  explicit Pair(const Kind& kind) : guest(kind.make()), agent(guest->Agent()) {
    EXPECT_TRUE(agent->WaitConnected(kPatience).ok());
  }
  std::unique_ptr<Guest> guest;
  std::unique_ptr<GuestAgent> agent;
};

class GuestContract : public testing::TestWithParam<Kind> {
 protected:
  static void SetUpTestSuite() { EnterPrivateEtc(); }
  static void TearDownTestSuite() { Shared().clear(); }
  // One for each kind: starting a real one takes longer than a test.
  static std::map<std::string, Pair>& Shared() {
    static auto* const all = new std::map<std::string, Pair>;
    return *all;
  }
  void SetUp() override {
    FillEtc();
    Pair& pair = Shared().try_emplace(GetParam().name, GetParam()).first->second;
    guest_ = pair.guest.get();
    agent_ = pair.agent.get();
    guest_->Reset();
    runs_ = Look().runs_size();
  }

  agent::Observation Look(const std::string& user = "dev") {
    agent::ObserveRequest request;
    request.set_user(user);
    const auto seen = agent_->Observe(request);
    EXPECT_TRUE(seen.ok()) << seen.status();
    return seen.value_or(agent::Observation());
  }
  // A name that no other test gives a run.
  static std::string Id(int number) {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    return absl::StrCat("line-", test->line(), "-", number);
  }
  static agent::RunScriptRequest Request(const std::string& id, const std::string& text) {
    agent::RunScriptRequest request;
    request.set_kind("system");
    request.set_run_id(id);
    request.set_script(text);
    request.set_content_hash(absl::StrCat("hash", std::hash<std::string>()(text)));
    request.set_machine("dev");
    return request;
  }
  absl::StatusOr<agent::ScriptRun> Run(const agent::RunScriptRequest& request) {
    output_.clear();
    return agent_->RunScript(request, [this](const agent::RunScriptEvent& event) {
      output_ += event.standard_output();
    });
  }
  absl::StatusOr<agent::ScriptRun> Follow(const std::string& id, uint64_t offset,
                                          bool goes_on = true) {
    agent::FollowRunRequest request;
    request.set_run_id(id);
    request.set_offset(offset);
    output_.clear();
    return agent_->FollowRun(request, [&](const agent::RunScriptEvent& event) {
      output_ += event.standard_output();
      return goes_on;
    });
  }
  absl::Status Dial(uint16_t port) {
    std::promise<absl::Status> dialed;
    agent_->Dial(port, [&](const absl::StatusOr<int>& socket) {
      if (socket.ok()) close(*socket);
      dialed.set_value(socket.status());
    });
    return dialed.get_future().get();
  }
  absl::Status Exec(std::vector<agent::ExecOutput>* outputs) {
    bool asked = false;
    return agent_->Exec(
        [&](agent::ExecInput* input) {
          input->mutable_start()->add_argv("/bin/true");
          input->mutable_start()->set_no_input(true);
          return !std::exchange(asked, true);
        },
        [&](const agent::ExecOutput& output) { outputs->push_back(output); });
  }
  absl::Status Copy(bool begins, std::vector<agent::CopyMessage>* outputs) {
    bool asked = false;
    return agent_->Copy(
        [&](agent::CopyMessage* message) {
          message->mutable_start()->set_path("/no/such/file");
          return begins && !std::exchange(asked, true);
        },
        [&](const agent::CopyMessage& message) { outputs->push_back(message); });
  }

  // Those of this test.
  std::vector<agent::ScriptRun> Runs() {
    const agent::Observation seen = Look();
    return {seen.runs().begin() + runs_, seen.runs().end()};
  }

  Guest* guest_ = nullptr;
  GuestAgent* agent_ = nullptr;
  int runs_ = 0;  // of the tests before
  std::string output_;
};

TEST_P(GuestContract, SaysWhoItIsAndHowTheGuestStands) {
  const agent::Observation seen = Look();
  EXPECT_EQ(seen.protocol(), kProtocol);
  EXPECT_NE(seen.boot_id(), "");
  EXPECT_EQ(seen.hostname(), "old");
  EXPECT_EQ(seen.static_hostname(), "old");
  EXPECT_TRUE(seen.user_exists());
  EXPECT_THAT(seen.groups(), ElementsAre("adm"));
  EXPECT_TRUE(seen.settings().has_timezone());
}

TEST_P(GuestContract, ASessionThatIsThereNeedsNoWait) {
  EXPECT_TRUE(agent_->WaitConnected(absl::ZeroDuration()).ok());
}

TEST_P(GuestContract, OfAUserThatThereIsNotItTellsNothingAndSetsNothing) {
  const agent::Observation seen = Look("ghost");
  EXPECT_FALSE(seen.user_exists());
  EXPECT_THAT(seen.groups(), IsEmpty());
  EXPECT_THAT(seen.authorized_keys(), IsEmpty());
  agent::SetGroupsRequest groups;
  groups.set_user("ghost");
  groups.add_add("video");
  EXPECT_TRUE(absl::IsFailedPrecondition(agent_->SetGroups(groups)));
  agent::SetAuthorizedKeysRequest keys;
  keys.set_user("ghost");
  keys.add_add(absl::StrCat(kKey, " me@here"));
  EXPECT_TRUE(absl::IsFailedPrecondition(agent_->SetAuthorizedKeys(keys)));
  EXPECT_THAT(Look().groups(), ElementsAre("adm"));
}

TEST_P(GuestContract, SetsTheHostnameOrSaysThatItIsNone) {
  EXPECT_EQ(agent_->SetHostname("devbox"), absl::OkStatus());
  EXPECT_EQ(agent_->SetHostname("devbox"), absl::OkStatus()) << "again";
  EXPECT_TRUE(absl::IsInvalidArgument(agent_->SetHostname("no host")));
  EXPECT_EQ(Look().hostname(), "devbox");
  EXPECT_EQ(Look().static_hostname(), "devbox");
}

TEST_P(GuestContract, SetsTheNamedGroupsAndNoOthers) {
  agent::SetGroupsRequest request;
  request.set_user("dev");
  request.add_add("video");
  request.add_add("kvm");
  request.add_remove("docker");
  for (int times = 0; times < 2; ++times) {
    EXPECT_EQ(agent_->SetGroups(request), absl::OkStatus());
    EXPECT_THAT(Look().groups(), ElementsAre("adm", "kvm", "video")) << "sorted";
  }
  request.Clear();
  request.set_user("dev");
  request.add_remove("video");
  EXPECT_EQ(agent_->SetGroups(request), absl::OkStatus());
  EXPECT_THAT(Look().groups(), ElementsAre("adm", "kvm"));
}

TEST_P(GuestContract, AKeyIsOneWhateverItsComment) {
  agent::SetAuthorizedKeysRequest request;
  request.set_user("dev");
  request.add_add(absl::StrCat(kKey, " me@here"));
  for (int times = 0; times < 2; ++times) {
    EXPECT_EQ(agent_->SetAuthorizedKeys(request), absl::OkStatus());
    EXPECT_THAT(Look().authorized_keys(), ElementsAre(kKey));
  }
  request.Clear();
  request.set_user("dev");
  request.add_remove(absl::StrCat(kKey, " me@elsewhere"));
  EXPECT_EQ(agent_->SetAuthorizedKeys(request), absl::OkStatus());
  EXPECT_THAT(Look().authorized_keys(), IsEmpty());
}

TEST_P(GuestContract, SetsSettingsOrSaysWhyNot) {
  agent::Settings wanted;
  EXPECT_EQ(agent_->Set(wanted), absl::OkStatus()) << "nothing";
  wanted.set_timezone("Europe/Berlin");
  EXPECT_EQ(agent_->Set(wanted), absl::OkStatus());
  wanted.set_timezone("Europe/Nowhere");
  EXPECT_TRUE(absl::IsFailedPrecondition(agent_->Set(wanted)));
  EXPECT_EQ(Look().settings().timezone(), "Europe/Berlin");
}

TEST_P(GuestContract, SetsNoStorageWhereNoneIsAskedFor) {
  const auto made = agent_->SetStorage(agent::SetStorageRequest());
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_THAT(made->volumes(), IsEmpty());
}

TEST_P(GuestContract, AScriptRunsOnceForItsIdAndIsInTheLedgerWithItsEnd) {
  const Guest::Script script = guest_->Says("hello", 3);
  const agent::RunScriptRequest request = Request(Id(1), script.text);
  const auto run = Run(request);
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(output_, script.output);
  EXPECT_EQ(run->run_id(), Id(1));
  EXPECT_EQ(run->kind(), "system");
  EXPECT_EQ(run->content_hash(), request.content_hash());
  EXPECT_EQ(run->boot_id(), Look().boot_id());
  EXPECT_EQ(run->exit_status(), 3);
  EXPECT_EQ(run->ending(), agent::ScriptRun::BY_ITSELF);
  EXPECT_GT(run->ended_ms(), 0);
  EXPECT_EQ(run->output_bytes(), script.output.size());
  ASSERT_EQ(Runs().size(), 1u);
  EXPECT_EQ(Runs()[0].SerializeAsString(), run->SerializeAsString());
  const auto again = Run(request);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->SerializeAsString(), run->SerializeAsString());
  EXPECT_EQ(output_, script.output) << "as it was then";
  EXPECT_EQ(Runs().size(), 1u);
}

TEST_P(GuestContract, AScriptThatRanMeanwhileIsNotRunAgain) {
  const Guest::Script script = guest_->Says("hello", 0);
  agent::RunScriptRequest request = Request(Id(1), script.text);
  std::string last;
  const agent::Observation seen = Look();
  for (const agent::ScriptRun& run : seen.runs()) {
    if (run.kind() == request.kind()) last = run.run_id();
  }
  request.set_last_run_id(last);
  EXPECT_TRUE(Run(request).ok());
  request.set_run_id(Id(2));
  EXPECT_TRUE(absl::IsAborted(Run(request).status()));
  EXPECT_EQ(output_, "");
  EXPECT_EQ(Runs().size(), 1u);
  request.set_last_run_id(Id(1));
  EXPECT_TRUE(Run(request).ok());
  ASSERT_EQ(Runs().size(), 2u);
  EXPECT_EQ(Runs()[1].run_id(), Id(2)) << "the oldest first";
}

TEST_P(GuestContract, ARunWithoutAnIdThatIsOneIsRefused) {
  const Guest::Script script = guest_->Says("hello", 0);
  for (const std::string& id : {std::string(), std::string("no/id"), std::string(65, 'x')}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Run(Request(id, script.text)).status())) << id;
  }
  EXPECT_THAT(Runs(), IsEmpty());
}

TEST_P(GuestContract, ARunIsFollowedFromAnOffsetOnAndByWhoeverWants) {
  const Guest::Script script = guest_->Says("hello", 5);
  ASSERT_TRUE(Run(Request(Id(1), script.text)).ok());
  const auto whole = Follow(Id(1), 0);
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ(whole->exit_status(), 5);
  EXPECT_EQ(output_, script.output);
  EXPECT_TRUE(Follow(Id(1), 2).ok());
  EXPECT_EQ(output_, script.output.substr(2));
  EXPECT_TRUE(Follow(Id(1), script.output.size()).ok());
  EXPECT_EQ(output_, "");
  EXPECT_TRUE(absl::IsCancelled(Follow(Id(1), 0, false).status())) << "who has enough";
  EXPECT_TRUE(absl::IsNotFound(Follow(Id(2), 0).status()));
  EXPECT_EQ(Runs().size(), 1u) << "nothing was started";
}

TEST_P(GuestContract, ARunThatEndedNeedsNoCancelAndOneThatThereIsNotHasNone) {
  ASSERT_TRUE(Run(Request(Id(1), guest_->Says("hello", 0).text)).ok());
  EXPECT_EQ(agent_->CancelRun(Id(1)), absl::OkStatus());
  EXPECT_EQ(Runs().at(0).ending(), agent::ScriptRun::BY_ITSELF);
  EXPECT_TRUE(absl::IsNotFound(agent_->CancelRun(Id(2))));
}

TEST_P(GuestContract, TheBootScriptIsTheOneThatWasSetOrRanLast) {
  agent::SetBootScriptRequest set;
  set.set_script("true");
  set.set_content_hash("hash0");
  EXPECT_EQ(agent_->SetBootScript(set), absl::OkStatus());
  EXPECT_EQ(Look().boot_script_hash(), "hash0");
  agent::RunScriptRequest boot = Request(Id(1), guest_->Says("hello", 0).text);
  ASSERT_TRUE(Run(boot).ok());
  EXPECT_EQ(Look().boot_script_hash(), "hash0") << "that was another kind";
  boot.set_run_id(Id(2));
  boot.set_kind("boot");
  ASSERT_TRUE(Run(boot).ok());
  EXPECT_EQ(Look().boot_script_hash(), boot.content_hash());
}

TEST_P(GuestContract, TheLastWordOfACommandIsHowItEnded) {
  std::vector<agent::ExecOutput> outputs;
  EXPECT_EQ(Exec(&outputs), absl::OkStatus());
  ASSERT_FALSE(outputs.empty());
  EXPECT_TRUE(outputs.back().has_exit_status());
  EXPECT_EQ(outputs.back().exit_status(), 0);
}

TEST_P(GuestContract, TheLastWordOfACopyIsItsEnd) {
  std::vector<agent::CopyMessage> outputs;
  EXPECT_EQ(Copy(true, &outputs), absl::OkStatus());
  ASSERT_FALSE(outputs.empty());
  EXPECT_TRUE(outputs.back().has_end());
  EXPECT_NE(outputs.back().end().error(), "");
  outputs.clear();
  EXPECT_TRUE(absl::IsCancelled(Copy(false, &outputs))) << "nothing to copy";
  EXPECT_TRUE(outputs.empty());
}

TEST_P(GuestContract, HasNoHostKeysWithoutSshd) {
  const auto keys = agent_->ReadHostKeys();
  ASSERT_TRUE(keys.ok()) << keys.status();
  EXPECT_THAT(*keys, IsEmpty());
}

TEST_P(GuestContract, APortWhereNobodyListensRefuses) {
  EXPECT_TRUE(absl::IsFailedPrecondition(Dial(1)));
}

TEST_P(GuestContract, WithoutASessionNothingIsDoneAndThatIsSaid) {
  const Pair pair(GetParam());
  agent_ = pair.agent.get();
  pair.guest->Disconnect();
  absl::Status why;
  // The other end learns of it a little later.
  for (const auto end = absl::Now() + kPatience; why.ok() && absl::Now() < end;) {
    why = agent_->Observe({}).status();
  }
  EXPECT_TRUE(absl::IsUnavailable(why)) << why;
  EXPECT_TRUE(absl::IsDeadlineExceeded(agent_->WaitConnected(absl::Milliseconds(20))));
  EXPECT_TRUE(absl::IsUnavailable(agent_->Observe({}).status()));
  EXPECT_TRUE(absl::IsUnavailable(agent_->SetHostname("x")));
  EXPECT_TRUE(absl::IsUnavailable(agent_->SetGroups({})));
  EXPECT_TRUE(absl::IsUnavailable(agent_->SetAuthorizedKeys({})));
  EXPECT_TRUE(absl::IsUnavailable(agent_->Set({})));
  EXPECT_TRUE(absl::IsUnavailable(agent_->SetStorage({}).status()));
  EXPECT_TRUE(absl::IsUnavailable(agent_->SetBootScript({})));
  EXPECT_TRUE(absl::IsUnavailable(agent_->CancelRun(Id(1))));
  EXPECT_TRUE(absl::IsUnavailable(agent_->ReadHostKeys().status()));
  EXPECT_TRUE(absl::IsUnavailable(Run(Request(Id(1), "true")).status()));
  EXPECT_TRUE(absl::IsUnavailable(Follow(Id(1), 0).status()));
  EXPECT_TRUE(absl::IsUnavailable(Dial(80)));
  std::vector<agent::ExecOutput> outputs;
  EXPECT_TRUE(absl::IsUnavailable(Exec(&outputs)));
  EXPECT_TRUE(outputs.empty()) << "it did not begin";
  std::vector<agent::CopyMessage> copied;
  EXPECT_TRUE(absl::IsUnavailable(Copy(true, &copied)));
  EXPECT_TRUE(copied.empty());
  EXPECT_FALSE(agent_->Pushes());
  EXPECT_EQ(agent_->StreamSecret(), "");
}

INSTANTIATE_TEST_SUITE_P(
    All, GuestContract,
    testing::Values(
        Kind{"Process",
             []() -> std::unique_ptr<Guest> { return std::make_unique<RealGuest>(true); }},
        Kind{"Client",
             []() -> std::unique_ptr<Guest> { return std::make_unique<RealGuest>(false); }},
        Kind{"Fake", []() -> std::unique_ptr<Guest> { return std::make_unique<GuestInMemory>(); }}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace rum
