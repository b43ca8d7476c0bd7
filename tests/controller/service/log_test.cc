// rum log and rum provision --cancel over the socket.
#include <gmock/gmock.h>

#include "tests/controller/service/service_world.h"

namespace rum {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class LogTest : public ServiceTest {
 protected:
  struct Said {
    std::string out;
    std::vector<agent::ScriptRun> runs;
    uint64_t not_kept = 0;
    grpc::Status status;
  };
  Said Log(control::LogRequest request) {
    request.set_config_path(world_.identity.config_path);
    grpc::ClientContext context;
    const auto reader = client_->Log(&context, request);
    Said said;
    control::LogEvent event;
    while (reader->Read(&event)) {
      said.out += event.standard_output();
      said.not_kept += event.not_kept();
      if (event.has_run()) said.runs.push_back(event.run());
    }
    said.status = reader->Finish();
    return said;
  }
  std::vector<agent::ScriptRun> Runs() {
    grpc::ClientContext context;
    control::RunsReply runs;
    EXPECT_TRUE(client_->ListRuns(&context, ThisMachine(), &runs).ok());
    return {runs.runs().begin(), runs.runs().end()};
  }
};

TEST_F(LogTest, GivesTheLastRunBetweenWhatIsKnownOfIt) {
  Apply(UpRequest());
  ASSERT_EQ(Runs().size(), 2u);
  const Said said = Log({});
  EXPECT_TRUE(said.status.ok()) << said.status.error_message();
  EXPECT_EQ(said.out, "output of boot 1\n");
  ASSERT_EQ(said.runs.size(), 2u);
  EXPECT_EQ(said.runs[0].kind(), "boot");
  EXPECT_EQ(said.runs[1].SerializeAsString(), Runs()[1].SerializeAsString());
  control::LogRequest system;
  system.set_run_id(Runs()[0].run_id());
  EXPECT_EQ(Log(system).out, "output of system 1\n");
}

TEST_F(LogTest, PicksTheOneThatFailed) {
  world_.guest->exit_statuses["system 1"] = 3;
  Apply(UpRequest());
  control::LogRequest failed;
  failed.set_failed(true);
  const Said said = Log(failed);
  EXPECT_EQ(said.out, "output of system 1\n");
  ASSERT_FALSE(said.runs.empty());
  EXPECT_EQ(said.runs[0].exit_status(), 3);
}

TEST_F(LogTest, SaysHowMuchIsMissing) {
  Apply(UpRequest());
  {
    const std::lock_guard<std::mutex> guard(world_.guest->mutex);
    agent::ScriptRun run = world_.guest->runs.back();
    run.set_run_id("long");
    run.set_started_ms(9000);
    run.set_output_bytes(1000);
    world_.guest->runs.push_back(run);
    world_.guest->outputs["long"] = "all that there is\n";
  }
  const Said said = Log({});
  EXPECT_EQ(said.out, "all that there is\n");
  EXPECT_EQ(said.not_kept, 1000u - 18u);
}

TEST_F(LogTest, WhatIsNotThereSaysSo) {
  EXPECT_EQ(Log({}).status.error_message(), "no script has run yet");
  Apply(UpRequest());
  control::LogRequest request;
  request.set_failed(true);
  EXPECT_EQ(Log(request).status.error_message(), "no script has failed");
  request.set_run_id("../secret");
  EXPECT_THAT(Log(request).status.error_message(), HasSubstr("rum log --list"));
}

TEST_F(LogTest, CancelTellsTheRunsThatGoOn) {
  Apply(UpRequest());
  {
    const std::lock_guard<std::mutex> guard(world_.guest->mutex);
    agent::ScriptRun run = world_.guest->runs.back();
    run.set_run_id("going-on");
    run.clear_ended_ms();
    world_.guest->runs.push_back(run);
  }
  grpc::ClientContext context;
  control::RunsReply told;
  ASSERT_TRUE(client_->CancelRuns(&context, ThisMachine(), &told).ok());
  ASSERT_EQ(told.runs_size(), 1);
  const std::lock_guard<std::mutex> guard(world_.guest->mutex);
  EXPECT_THAT(world_.guest->cancelled, ElementsAre("going-on"));
}

}  // namespace
}  // namespace rum
