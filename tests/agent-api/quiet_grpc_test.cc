// gRPC that does not look at its timers by itself, as a guest's process and the agent have it.
#include "agent-api/quiet_grpc.h"

#include <fcntl.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/server_posix.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>

#include "agent-api/agent.grpc.pb.h"
#include "agent-api/channel/socket_io.h"

namespace rum {
namespace {

// Answers by a hostname, or not at all.
class Service final : public agent::Agent::Service {
 public:
  grpc::Status Observe(grpc::ServerContext* context, const agent::ObserveRequest*,
                       agent::Observation* reply) override {
    std::unique_lock<std::mutex> guard(mutex_);
    while (silent_ && !context->IsCancelled()) changed_.wait_for(guard, std::chrono::seconds(1));
    reply->set_hostname("here");
    return grpc::Status::OK;
  }
  void BeSilent(bool silent) {
    const std::lock_guard<std::mutex> guard(mutex_);
    silent_ = silent;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool silent_ = false;
};

class QuietGrpcTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { QuietGrpc(); }

  QuietGrpcTest() {
    int ours = -1;
    int theirs = -1;
    EXPECT_TRUE(SocketPair(&ours, &theirs));
    for (const int fd : {ours, theirs}) fcntl(fd, F_SETFL, O_NONBLOCK);
    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    grpc::AddInsecureChannelFromFd(server_.get(), theirs);
    stub_ = agent::Agent::NewStub(grpc::CreateInsecureChannelFromFd("there", ours));
  }
  ~QuietGrpcTest() override {
    service_.BeSilent(false);
    server_->Shutdown();
  }

  grpc::Status Ask(std::chrono::milliseconds patience) {
    grpc::ClientContext context;
    const CallDeadline deadline(&context, patience);
    agent::Observation reply;
    return stub_->Observe(&context, agent::ObserveRequest(), &reply);
  }

  Service service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<agent::Agent::Stub> stub_;
};

TEST_F(QuietGrpcTest, ACallThatNobodyAnswersEndsAtItsDeadlineAndNotBefore) {
  service_.BeSilent(true);
  for (const int milliseconds : {1, 30, 300}) {
    const std::chrono::milliseconds patience(milliseconds);
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(Ask(patience).error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
    EXPECT_GE(std::chrono::steady_clock::now() - begin, patience);
  }
}

TEST_F(QuietGrpcTest, CallsThatAreAnsweredLeaveNothingThatIsDue) {
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(Ask(std::chrono::minutes(1)).ok());
  service_.BeSilent(true);
  EXPECT_EQ(Ask(std::chrono::milliseconds(30)).error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  service_.BeSilent(false);
  EXPECT_TRUE(Ask(std::chrono::minutes(1)).ok());
}

}  // namespace
}  // namespace rum
