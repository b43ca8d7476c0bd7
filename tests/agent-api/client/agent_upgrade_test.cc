// Hosts and agents of different builds, in both directions.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/server_posix.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "agent-api/agent.grpc.pb.h"
#include "agent-api/build_id.h"
#include "agent-api/channel/guest_link.h"
#include "agent-api/client/guest_agent.h"
#include "agent-api/forward/stream_secret.h"
#include "agent-api/protocol.h"
#include "tests/agent-api/client/agent_process.h"
#include "tests/agent-api/guest/folder.h"
#include "tests/agent-api/guest/private_etc.h"
#include "tests/controller/guests/by_process.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr absl::Duration kPatience = absl::Seconds(60);

std::string Present() { return RUM_PRESENT; }

class AgentUpgrade : public testing::Test {
 protected:
  static void SetUpTestSuite() { EnterPrivateEtc(); }
  AgentUpgrade() {
    fs::copy_file(RUM_PREVIOUS, installed_);
    process_ = std::make_unique<AgentProcess>(folder_ / "state", installed_);
  }

  void Connect(const std::string& program) {
    agent_ = ConnectByProcess(process_->opener(), nullptr, program);
    ASSERT_TRUE(agent_->WaitConnected(kPatience).ok());
  }
  agent::Observation Seen() {
    const auto seen = agent_->Observe(agent::ObserveRequest());
    EXPECT_TRUE(seen.ok()) << seen.status();
    return seen.ok() ? *seen : agent::Observation();
  }

  const Folder folder_;
  const std::string installed_ = folder_ / "rum-agent";
  std::unique_ptr<AgentProcess> process_;
  std::unique_ptr<GuestAgent> agent_;
};

TEST_F(AgentUpgrade, APreviousAgentIsReplacedInPlaceWhileTheProcessGoesOn) {
  Connect("");
  EXPECT_EQ(Seen().agent_version(), "0.0.9");
  agent_.reset();
  const pid_t pid = process_->pid();
  Connect(Present());
  EXPECT_EQ(Seen().agent_version(), kAgentVersion);
  EXPECT_EQ(Seen().build_id(), BuildIdOf(Present()));
  EXPECT_EQ(Seen().not_replaced(), "");
  EXPECT_EQ(fs::read_symlink("/proc/" + std::to_string(pid) + "/exe"), fs::path(installed_));
  EXPECT_EQ(process_->pid(), pid);
  EXPECT_FALSE(fs::exists(installed_ + ".new"));
  // And the one that came is there for the next start as well.
  agent_.reset();
  process_->Kill();
  process_->Start();
  Connect("");
  EXPECT_EQ(Seen().agent_version(), kAgentVersion);
}

TEST_F(AgentUpgrade, TheOwnAgentIsNotReplaced) {
  process_.reset();  // what runs cannot be written to
  fs::copy_file(Present(), installed_, fs::copy_options::overwrite_existing);
  process_ = std::make_unique<AgentProcess>(folder_ / "state", installed_);
  const auto written = fs::last_write_time(installed_);
  Connect(Present());
  EXPECT_EQ(Seen().not_replaced(), "");
  EXPECT_EQ(fs::last_write_time(installed_), written);
}

TEST_F(AgentUpgrade, AProgramThatDoesNotRunThereReplacesNothingAndTheOldOneGoesOn) {
  // As for another processor: a good program for the host to send, whose interpreter is missing.
  const std::string broken = folder_ / "broken";
  fs::copy_file(Present(), broken);
  fs::resize_file(broken, 4096);
  Connect(broken);
  EXPECT_EQ(Seen().agent_version(), "0.0.9");
  EXPECT_THAT(Seen().not_replaced(), HasSubstr("could not be replaced: "));
  EXPECT_EQ(BuildIdOf(installed_), BuildIdOf(RUM_PREVIOUS));
  EXPECT_FALSE(fs::exists(installed_ + ".new"));
}

// An agent of another time: it says who it is, and runs a command that takes no input.
class StrangeAgent : public agent::Agent::Service {
 public:
  explicit StrangeAgent(const AgentBuild& build) : build_(build) {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    port_ = fds[0], channel_ = fds[1];
    grpc::ServerBuilder builder;
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    link_ = std::thread([this] {
      ServeGuestLink(port_, wake_,
                     [this](int socket) { grpc::AddInsecureChannelFromFd(server_.get(), socket); });
    });
  }
  ~StrangeAgent() override {
    eventfd_write(wake_, 1);
    link_.join();
    server_->Shutdown();
    for (const int fd : {port_, channel_, wake_}) close(fd);
  }
  grpc::Status Observe(grpc::ServerContext*, const agent::ObserveRequest* request,
                       agent::Observation* reply) override {
    if (!request->stream_secret().empty()) secret = request->stream_secret();
    reply->set_agent_version(build_.version);
    reply->set_protocol(build_.protocol);
    reply->set_oldest_protocol(build_.oldest_protocol);
    return grpc::Status::OK;
  }
  grpc::Status Exec(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<agent::ExecOutput, agent::ExecInput>* stream) override {
    agent::ExecInput input;
    uint64_t bytes = 0;
    while (stream->Read(&input) && !input.has_close_input()) bytes += input.standard_input().size();
    agent::ExecOutput output;
    output.set_standard_output(std::to_string(bytes));
    stream->Write(output);
    output.set_exit_status(0);
    stream->Write(output);
    return grpc::Status::OK;
  }
  grpc::Status Copy(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<agent::CopyMessage, agent::CopyMessage>* stream) override {
    ++copies;
    agent::CopyMessage message;
    message.mutable_end();
    stream->Write(message);
    return grpc::Status::OK;
  }
  grpc::Status Upgrade(grpc::ServerContext*, grpc::ServerReader<agent::UpgradeChunk>* reader,
                       agent::UpgradeReply*) override {
    agent::UpgradeChunk chunk;
    while (reader->Read(&chunk)) {
    }
    ++upgrades;
    return grpc::Status::OK;
  }
  ChannelOpener opener() {
    return [this]() -> absl::StatusOr<int> { return fcntl(channel_, F_DUPFD_CLOEXEC, 0); };
  }

  std::atomic<int> upgrades = 0;
  std::atomic<int> copies = 0;
  std::string secret;  // for streams, as the host told it

 private:
  const AgentBuild build_;
  int port_ = -1;
  int channel_ = -1;
  const int wake_ = eventfd(0, EFD_CLOEXEC);
  std::unique_ptr<grpc::Server> server_;
  std::thread link_;
};

TEST(StrangeAgents, ANewerOneThatServesUsIsUsedAndNamedButNotReplaced) {
  StrangeAgent strange({"9.0.0", kProtocol + 5, kProtocol, "x"});
  const auto agent = ConnectByProcess(strange.opener(), nullptr, Present());
  ASSERT_TRUE(agent->WaitConnected(kPatience).ok());
  const auto seen = agent->Observe(agent::ObserveRequest());
  ASSERT_TRUE(seen.ok());
  EXPECT_THAT(seen->not_replaced(), HasSubstr("the agent in the guest is 9.0.0 (protocol "));
  EXPECT_EQ(strange.upgrades, 0);
}

TEST(StrangeAgents, SecretsOfStreamsAreForThoseWhoKnowWhatTheyAreFor) {
  StrangeAgent before({"0.0.1", kTakesStreamSecret - 1, 1, ""});
  const auto old = ConnectByProcess(before.opener(), nullptr);
  EXPECT_EQ(old->StreamSecret(), "") << "no session yet";
  ASSERT_TRUE(old->WaitConnected(kPatience).ok());
  EXPECT_EQ(old->StreamSecret(), "");
  StrangeAgent present({kAgentVersion, kProtocol, 1, ""});
  const auto agent = ConnectByProcess(present.opener(), nullptr);
  ASSERT_TRUE(agent->WaitConnected(kPatience).ok());
  EXPECT_EQ(agent->StreamSecret().size(), kStreamSecretSize);
  EXPECT_EQ(agent->StreamSecret(), present.secret);
  EXPECT_NE(agent->StreamSecret(), before.secret) << "each machine has its own";
}

TEST(StrangeAgents, ANewerOneThatDoesNotServeUsIsRefusedWithAMessage) {
  StrangeAgent strange({"9.0.0", kProtocol + 5, kProtocol + 1, "x"});
  const auto agent = ConnectByProcess(strange.opener(), nullptr, Present());
  // The message comes as soon as the agent has said who it is.
  std::string message;
  while (message.find("update rum") == std::string::npos) {
    const absl::Status waited = agent->WaitConnected(absl::Milliseconds(50));
    ASSERT_FALSE(waited.ok());
    message = std::string(waited.message());
  }
  EXPECT_THAT(message, HasSubstr("9.0.0 (protocol "));
  EXPECT_EQ(agent->SetHostname("x").code(), absl::StatusCode::kUnavailable);
}

TEST(StrangeAgents, OneOfTheFirstProtocolIsUsedAndWaitsForTheNextBoot) {
  StrangeAgent strange({"0.1.0", 1, 0, ""});
  const auto agent = ConnectByProcess(strange.opener(), nullptr, Present());
  ASSERT_TRUE(agent->WaitConnected(kPatience).ok());
  EXPECT_EQ(strange.upgrades, 0);
  EXPECT_THAT(agent->Observe(agent::ObserveRequest())->not_replaced(), HasSubstr("next boot"));
  // It does not count input, so that our end does: who waits for it must not wait for ever.
  std::mutex mutex;
  std::condition_variable changed;
  uint64_t taken = 0;
  int step = 0;
  std::string out;
  const absl::Status status = agent->Exec(
      [&](agent::ExecInput* input) {
        if (step == 0) input->mutable_start()->set_input_window(1000);
        if (step == 1) input->set_standard_input(std::string(1000, 'x'));
        if (step == 2) {
          std::unique_lock<std::mutex> guard(mutex);
          EXPECT_TRUE(changed.wait_for(guard, std::chrono::seconds(20), [&] { return taken > 0; }));
          input->set_close_input(true);
        }
        return step++ < 3;
      },
      [&](const agent::ExecOutput& output) {
        const std::lock_guard<std::mutex> guard(mutex);
        if (output.has_input_taken()) taken = output.input_taken();
        out += output.standard_output();
        changed.notify_all();
      });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(taken, 1000u);
  EXPECT_EQ(out, "1000");
}

// It would take an offer for a broken tree, and a copy that was to be resumed for a whole one.
TEST(StrangeAgents, OneThatCannotResumeACopyIsNotAskedTo) {
  StrangeAgent strange({"0.1.0", 2, 1, "x"});
  const auto agent = ConnectByProcess(strange.opener(), nullptr);  // and no other one to send
  ASSERT_TRUE(agent->WaitConnected(kPatience).ok());
  for (const bool resume : {true, false}) {
    const absl::Status status = agent->Copy(
        [&](agent::CopyMessage* message) {
          message->mutable_start()->set_resume(resume);
          return true;
        },
        [](const agent::CopyMessage&) {});
    EXPECT_EQ(strange.copies, resume ? 0 : 1);
    EXPECT_EQ(absl::IsFailedPrecondition(status), resume) << status;
    if (resume) EXPECT_THAT(std::string(status.message()), HasSubstr("without --resume"));
  }
}

}  // namespace
}  // namespace rum
