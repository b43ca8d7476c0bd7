// apply, up, down, destroy and status over the socket.
#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "tests/controller/service/service_world.h"
#include "tests/eventually.h"

namespace rum {
namespace {

using google::protobuf::util::MessageDifferencer;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

using ApplyTest = ServiceTest;

std::vector<std::string> Messages(const Heard& heard) {
  std::vector<std::string> messages;
  for (const ActionResult& result : heard.results) messages.push_back(result.message());
  return messages;
}

TEST_F(ApplyTest, StreamsWhatHappensAndEndsWithTheOutcome) {
  const Heard heard = Apply(UpRequest());
  EXPECT_TRUE(heard.status.ok()) << heard.status.error_message();
  EXPECT_THAT(heard.progress, Contains("starting the machine"));
  EXPECT_THAT(Messages(heard), Contains("Started the machine"));
  EXPECT_THAT(Messages(heard), Contains("Set hostname localhost → dev"));
  EXPECT_EQ(heard.output, "output of system 1\noutput of boot 1\n");
  ASSERT_EQ(heard.outcomes.size(), 1u);
  EXPECT_TRUE(heard.outcome_last);
  EXPECT_FALSE(heard.outcomes[0].failed());
  EXPECT_EQ(heard.outcomes[0].actions(), static_cast<int>(heard.results.size()));
  for (const ActionResult& result : heard.results) {
    EXPECT_TRUE(result.ok());
    EXPECT_NE(result.action().kind_case(), Action::KIND_NOT_SET);
  }
  world_.ExpectConverged();
}

TEST_F(ApplyTest, ASecondOneHasNothingToTell) {
  Apply(UpRequest());
  const Heard again = Apply(UpRequest());
  EXPECT_TRUE(again.results.empty());
  ASSERT_EQ(again.outcomes.size(), 1u);
  EXPECT_TRUE(again.outcomes[0].already_running());
  EXPECT_EQ(again.outcomes[0].actions(), 0);
}

TEST_F(ApplyTest, ADryRunGivesThePlanAlone) {
  Apply(UpRequest());
  world_.file.hostname = "devbox";
  world_.file.memory_mb = 2048;
  world_.file.auto_reconcile = false;  // else the loop is faster
  world_.Save();
  control::ApplyRequest request = UpRequest();
  request.set_up(false);
  request.set_dry_run(true);
  const Heard heard = Apply(request);
  EXPECT_TRUE(heard.results.empty());
  ASSERT_EQ(heard.outcomes.size(), 1u);
  const Plan& plan = heard.outcomes[0].plan();
  bool hostname = false;
  for (const Action& action : plan.actions()) hostname |= action.has_set_hostname();
  EXPECT_TRUE(hostname);
  ASSERT_EQ(plan.waiting_size(), 1);
  EXPECT_EQ(plan.waiting(0).field(), "resources.memory_mb");
  EXPECT_EQ(plan.waiting(0).effect(), RESTART);
  EXPECT_NE(plan.waiting(0).reason(), "");
  EXPECT_EQ(world_.guest->hostname, "dev");
}

TEST_F(ApplyTest, ForceAndResetReachTheController) {
  Apply(UpRequest());
  world_.file.system = "system 2";
  world_.Save();
  control::ApplyRequest request = UpRequest();
  request.set_force(true);
  Apply(request);
  EXPECT_EQ(world_.guest->TimesRun("system 2"), 1);
  request.set_reset(true);
  Apply(request);
  EXPECT_EQ(world_.hypervisor->DisksMade(world_.identity), 2);
  EXPECT_THAT(world_.hypervisor->Changes(), Not(Contains("define with fresh drives")));
  request.set_reset_drives(true);
  Apply(request);
  EXPECT_EQ(world_.hypervisor->DisksMade(world_.identity), 3);
  EXPECT_THAT(world_.hypervisor->Changes(), Contains("define with fresh drives"));
}

TEST_F(ApplyTest, AFailedScriptComesWithItsOutput) {
  world_.guest->exit_statuses["boot 1"] = 3;
  const Heard heard = Apply(UpRequest());
  ASSERT_FALSE(heard.results.empty());
  EXPECT_FALSE(heard.results.back().ok());
  EXPECT_THAT(heard.results.back().message(), HasSubstr("exit status 3"));
  EXPECT_EQ(heard.results.back().output_tail(), "output of boot 1\n");
  ASSERT_EQ(heard.outcomes.size(), 1u);
  EXPECT_TRUE(heard.outcomes[0].failed());
}

TEST_F(ApplyTest, ABadFileIsAnOutcomeThatNamesItsProblems) {
  world_.SaveText("[resources]\ncpus = 0\n");
  const Heard heard = Apply(UpRequest());
  EXPECT_TRUE(heard.status.ok());
  ASSERT_EQ(heard.outcomes.size(), 1u);
  EXPECT_TRUE(heard.outcomes[0].failed());
  EXPECT_THAT(heard.outcomes[0].error(), HasSubstr("dev.rum.toml:2:8: error: "));
}

// Strings that are not UTF-8 would make the whole reply unreadable.
TEST_F(ApplyTest, AFileThatIsNotUtf8CanStillBeTalkedAbout) {
  world_.SaveText("[image]\nbase = \"\xFF\xFE\"\n");
  const Heard heard = Apply(UpRequest());
  EXPECT_TRUE(heard.status.ok()) << heard.status.error_message();
  ASSERT_EQ(heard.outcomes.size(), 1u);
  EXPECT_THAT(heard.outcomes[0].error(), HasSubstr("dev.rum.toml:2:"));
  grpc::ClientContext context;
  MachineStatus status;
  EXPECT_TRUE(client_->Status(&context, ThisMachine(), &status).ok());
  EXPECT_THAT(status.config_error(), HasSubstr("dev.rum.toml:2:"));
}

TEST_F(ApplyTest, AClientThatGoesAwayStopsNothing) {
  script_->Hold();
  {
    grpc::ClientContext context;
    const auto reader = client_->Apply(&context, UpRequest());
    script_->AwaitScript();
    context.TryCancel();
    EXPECT_FALSE(HearAll(reader.get()).status.ok());
    client_.reset();
  }
  script_->Release();
  EXPECT_TRUE(Eventually([&] {
    return world_.guest->TimesRun("boot 1") == 1 && world_.Record().applied_generation() == 1;
  }));
  world_.ExpectConverged();
  client_ = NewClient();
  EXPECT_TRUE(Apply(UpRequest()).results.empty());
}

TEST_F(ApplyTest, AClientThatDoesNotReadHoldsUpNothing) {
  script_->output_chunks = 320;  // 20 MiB for each of two scripts
  grpc::ClientContext context;
  const auto reader = client_->Apply(&context, UpRequest());
  EXPECT_TRUE(Eventually([&] { return world_.Record().applied_generation() == 1; }));
  world_.ExpectConverged();
  // What it gets when it reads at last: all that counts, and a word on what does not.
  const Heard heard = HearAll(reader.get());
  EXPECT_TRUE(heard.status.ok());
  EXPECT_EQ(heard.outcomes.size(), 1u);
  EXPECT_THAT(Messages(heard), Contains("Started the machine"));
  EXPECT_LT(heard.output.size(), 20u * 1024 * 1024);
  EXPECT_THAT(heard.output.substr(heard.output.size() - 200), HasSubstr("of output left out"));
}

TEST_F(ApplyTest, AClientThatReadsGetsEveryByte) {
  script_->output_chunks = 320;
  EXPECT_EQ(Apply(UpRequest()).output.size(),
            2u * 320 * 64 * 1024 + std::string("output of system 1\noutput of boot 1\n").size());
}

TEST_F(ApplyTest, AStatusIsAnsweredDuringAnApply) {
  script_->Hold();
  grpc::ClientContext context;
  const auto reader = client_->Apply(&context, UpRequest());
  script_->AwaitScript();
  grpc::ClientContext other;
  MachineStatus status;
  EXPECT_TRUE(NewClient()->Status(&other, ThisMachine(), &status).ok());
  EXPECT_EQ(status.phase(), MachineStatus::RUNNING);
  script_->Release();
  EXPECT_TRUE(HearAll(reader.get()).status.ok());
}

TEST_F(ApplyTest, ADryRunDoesNotWaitForAnApply) {
  script_->Hold();
  grpc::ClientContext context;
  const auto reader = client_->Apply(&context, UpRequest());
  script_->AwaitScript();
  control::ApplyRequest question = UpRequest();
  question.set_up(false);
  question.set_dry_run(true);
  grpc::ClientContext other;
  other.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  const Heard heard = HearAll(NewClient()->Apply(&other, question).get());
  script_->Release();
  EXPECT_TRUE(HearAll(reader.get()).status.ok());
  EXPECT_TRUE(heard.status.ok()) << heard.status.error_message();
  EXPECT_THAT(heard.progress, testing::IsEmpty()) << "it waited";
  ASSERT_EQ(heard.outcomes.size(), 1u);
  EXPECT_EQ(heard.outcomes[0].error(), "");
  EXPECT_EQ(heard.outcomes[0].plan().phase(), MachineStatus::RUNNING);
}

TEST_F(ApplyTest, DownAndDestroySayWhatTheyDid) {
  Apply(UpRequest());
  grpc::ClientContext down_context;
  const Heard down = HearAll(client_->Down(&down_context, ThisMachine()).get());
  EXPECT_THAT(down.progress, Contains("stopping the machine"));
  ASSERT_EQ(down.outcomes.size(), 1u);
  EXPECT_TRUE(down.outcomes[0].already_running());
  EXPECT_FALSE(down.outcomes[0].failed());
  grpc::ClientContext destroy_context;
  const Heard destroyed = HearAll(client_->Destroy(&destroy_context, ThisMachine()).get());
  ASSERT_EQ(destroyed.outcomes.size(), 1u);
  EXPECT_GT(destroyed.outcomes[0].removed_size(), 0);
}

TEST_F(ApplyTest, DestroyOfAMachineWithSnapshotsAsksForForce) {
  Apply(UpRequest());
  control::MachineRequest request = ThisMachine();
  world_.hypervisor->MakeSnapshot(world_.identity, "s1");
  grpc::ClientContext context;
  const Heard refused = HearAll(client_->Destroy(&context, request).get());
  ASSERT_EQ(refused.outcomes.size(), 1u);
  EXPECT_TRUE(refused.outcomes[0].failed());
  EXPECT_THAT(refused.outcomes[0].snapshots(), testing::ElementsAre("s1"));
  request.set_force(true);
  grpc::ClientContext again;
  const Heard destroyed = HearAll(client_->Destroy(&again, request).get());
  ASSERT_EQ(destroyed.outcomes.size(), 1u);
  EXPECT_FALSE(destroyed.outcomes[0].failed());
}

TEST_F(ApplyTest, AFailureOfLibvirtIsInTheOutcomeInItsWords) {
  world_.hypervisor->FailAll(absl::UnavailableError("libvirt: \xFF gone"));
  grpc::ClientContext context;
  for (const Heard& heard :
       {Apply(UpRequest()), HearAll(client_->Destroy(&context, ThisMachine()).get())}) {
    EXPECT_TRUE(heard.status.ok());
    ASSERT_EQ(heard.outcomes.size(), 1u);
    EXPECT_TRUE(heard.outcomes[0].failed());
    EXPECT_THAT(heard.outcomes[0].error(), HasSubstr("libvirt: \\xff gone"));
  }
}

TEST_F(ApplyTest, StatusIsTheControllers) {
  Apply(UpRequest());
  grpc::ClientContext context;
  MachineStatus status;
  ASSERT_TRUE(client_->Status(&context, ThisMachine(), &status).ok());
  EXPECT_TRUE(
      MessageDifferencer::Equals(status, *controller_->Status(world_.identity.config_path)));
}

TEST_F(ApplyTest, ErrorsKeepTheirCodeAndMessage) {
  MachineStatus status;
  control::MachineRequest request;
  request.set_config_path("/nowhere/at/all/dev.rum.toml");
  grpc::ClientContext context;
  grpc::Status called = client_->Status(&context, request, &status);
  EXPECT_EQ(called.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(called.error_message(), HasSubstr("/nowhere/at/all/dev.rum.toml: its folder"));
  request.set_config_path("/dev.yaml");
  grpc::ClientContext other;
  called = client_->Status(&other, request, &status);
  EXPECT_EQ(called.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(called.error_message(), HasSubstr("must end in .toml"));
}

TEST_F(ApplyTest, AServerThatEndsEndsWhatWaits) {
  world_.guest->SetConnected(false);
  Heard heard;
  std::thread up([&] { heard = Apply(UpRequest()); });
  EXPECT_TRUE(Eventually([&] {
    std::lock_guard<std::mutex> lock(world_.host->mutex);
    return world_.host->open.size() == 2;
  }));
  const absl::Time begin = absl::Now();
  StopServer();
  EXPECT_LT(absl::Now() - begin, absl::Seconds(60)) << "the agent is waited for 300 s";
  up.join();
  // On a slow machine the end of the call is faster than its outcome.
  EXPECT_TRUE(!heard.status.ok() || (heard.outcomes.size() == 1 && heard.outcomes[0].failed()));
}

}  // namespace
}  // namespace rum
