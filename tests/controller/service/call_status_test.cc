// What a client can tell of how its call ended: over real connections.
#include "controller/service/call_status.h"

#include <fcntl.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/server_posix.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "agent-api/client/rpc_status.h"
#include "controller/service/control.grpc.pb.h"

namespace rum {
namespace {

class Answering final : public control::Control::Service {
 public:
  explicit Answering(absl::Status answer) : answer_(std::move(answer)) {}
  grpc::Status Info(grpc::ServerContext*, const control::InfoRequest*,
                    control::InfoReply*) override {
    return ToGrpc(answer_);
  }

 private:
  const absl::Status answer_;
};

grpc::Status Ask(int socket) {
  const auto stub =
      control::Control::NewStub(grpc::CreateInsecureChannelFromFd("controller", socket));
  grpc::ClientContext context;
  control::InfoReply reply;
  return stub->Info(&context, control::InfoRequest(), &reply);
}

grpc::Status AskOneThatAnswers(const absl::Status& answer) {
  int ends[2];
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
  Answering service(answer);
  grpc::ServerBuilder builder;
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  grpc::AddInsecureChannelFromFd(server.get(), ends[0]);
  grpc::Status told = Ask(ends[1]);
  server->Shutdown();
  return told;
}

TEST(CallStatus, AFailureThatTheControllerTellsOfIsToldAsItIs) {
  for (int code = 2; code <= 16; ++code) {  // all but CANCELLED
    const grpc::Status told =
        AskOneThatAnswers(absl::Status(static_cast<absl::StatusCode>(code), "the agent is away"));
    EXPECT_EQ(told.error_code(), code);
    EXPECT_FALSE(IsLost(told)) << code;
    EXPECT_EQ(WhyItFailed(told), "the agent is away");
  }
  EXPECT_TRUE(AskOneThatAnswers(absl::OkStatus()).ok());
}

TEST(CallStatus, AControllerThatStopsIsOneThatWent) {
  EXPECT_TRUE(IsLost(AskOneThatAnswers(absl::CancelledError("the controller is stopping"))));
}

TEST(CallStatus, AConnectionThatBreaksIsTheControllersEnd) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
  close(ends[0]);
  const grpc::Status told = Ask(ends[1]);
  EXPECT_TRUE(IsLost(told));
  EXPECT_EQ(WhyItFailed(told), "the controller went away before this was done");
}

// What gRPC says of its inside, by the code that it says it with.
constexpr std::pair<grpc::StatusCode, const char*> kInnerWords[] = {
    {grpc::StatusCode::CANCELLED, "CANCELLED"},
    {grpc::StatusCode::UNKNOWN, "Stream removed"},
    {grpc::StatusCode::UNKNOWN, "Unexpected error in RPC handling"},
    {grpc::StatusCode::DEADLINE_EXCEEDED, "Deadline Exceeded"},
    {grpc::StatusCode::RESOURCE_EXHAUSTED,
     "Received message larger than max (5242880 vs. 4194304)"},
    {grpc::StatusCode::UNIMPLEMENTED, ""},
    {grpc::StatusCode::INTERNAL, "Received RST_STREAM with error code 2"},
    {grpc::StatusCode::INTERNAL, "Failed to parse response"},
    {grpc::StatusCode::UNAVAILABLE, "Socket closed"},
    {grpc::StatusCode::UNAVAILABLE, "Connection reset by peer"},
    {grpc::StatusCode::UNAVAILABLE, "Broken pipe"},
    {grpc::StatusCode::UNAVAILABLE, "Endpoint read failed"},
    {grpc::StatusCode::UNAVAILABLE, "GOAWAY received"},
    {grpc::StatusCode::UNAVAILABLE, "keepalive watchdog timeout"},
    {grpc::StatusCode::UNAVAILABLE, "failed to connect to all addresses"},
};

TEST(CallStatus, NoInnerWordOfGrpcReachesAPerson) {
  for (const auto& [code, words] : kInnerWords) {
    const grpc::Status status(code, words);
    for (const std::string& told : {WhyItFailed(status), std::string(ToAbsl(status).message())}) {
      EXPECT_FALSE(told.empty()) << code << " " << words;
      if (*words != 0) EXPECT_EQ(told.find(words), std::string::npos) << told;
      for (const char* inner : {"RST_STREAM", "Socket", "Deadline Exceeded", "addresses"}) {
        EXPECT_EQ(told.find(inner), std::string::npos) << told;
      }
    }
    // What is too large is what no agent says, however often it is asked.
    const bool large = code == grpc::StatusCode::RESOURCE_EXHAUSTED;
    EXPECT_EQ(static_cast<int>(ToAbsl(status).code()),
              large ? static_cast<int>(absl::StatusCode::kDataLoss) : code)
        << "the code decides retry";
  }
}

TEST(CallStatus, NoAnswerIsWithoutWords) {
  for (int code = 1; code <= 16; ++code) {
    const grpc::Status bare(static_cast<grpc::StatusCode>(code), "");
    EXPECT_GT(WhyItFailed(bare).size(), 20u) << code;
    EXPECT_GT(ToAbsl(bare).message().size(), 20u) << code;
    const grpc::Status answered = ToGrpc(absl::Status(static_cast<absl::StatusCode>(code), ""));
    EXPECT_GT(WhyItFailed(answered).size(), 20u) << code;
  }
}

TEST(CallStatus, WhatTheAgentSaysIsToldAsItIs) {
  EXPECT_EQ(ToAbsl({grpc::StatusCode::PERMISSION_DENIED, "no user me"}).message(),
            "agent: no user me");
  EXPECT_EQ(ToAbsl({grpc::StatusCode::UNAVAILABLE, "the agent is busy"}).message(),
            "agent: the agent is busy");
}

}  // namespace
}  // namespace rum
