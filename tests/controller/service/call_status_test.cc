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
  EXPECT_EQ(WhyItFailed(told), "the controller went away: " + told.error_message());
}

}  // namespace
}  // namespace rum
