// rum exec over the socket.
#include <gmock/gmock.h>
#include <signal.h>

#include <thread>

#include "tests/controller/service/service_world.h"
#include "tests/eventually.h"

namespace rum {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Stream = grpc::ClientReaderWriter<control::ExecMessage, control::ExecMessage>;

class ExecTest : public ServiceTest {
 protected:
  ExecTest() { Apply(UpRequest()); }

  bool Send(const agent::ExecInput& input, Stream* stream) {
    control::ExecMessage message;
    message.set_config_path(world_.identity.config_path);
    input.SerializeToString(message.mutable_agent_message());
    return stream->Write(message);
  }
  bool Start(Stream* stream) {
    agent::ExecInput input;
    input.mutable_start()->add_argv("again");
    input.mutable_start()->add_argv("-c");
    input.mutable_start()->set_user("me");
    (*input.mutable_start()->mutable_env())["A"] = "1";
    return Send(input, stream);
  }
  // All output until the call ends.
  struct Said {
    std::string out;
    std::string err;
    int exit_status = -1;
    int signal = -1;
    grpc::Status status;
  };
  static Said HearAll(Stream* stream) {
    Said said;
    control::ExecMessage message;
    agent::ExecOutput output;
    while (stream->Read(&message)) {
      EXPECT_TRUE(output.ParseFromString(message.agent_message()));
      said.out += output.standard_output();
      said.err += output.standard_error();
      if (output.has_exit_status()) said.exit_status = output.exit_status();
      if (output.has_signal()) said.signal = output.signal();
      if (output.has_exit_status() || output.has_signal()) stream->WritesDone();
    }
    said.status = stream->Finish();
    return said;
  }
  std::vector<int> Signals() {
    std::lock_guard<std::mutex> lock(script_->mutex);
    return script_->signals;
  }

  grpc::ClientContext context_;
};

TEST_F(ExecTest, PassesInputOutputErrorsAndTheExitStatusOn) {
  const auto stream = client_->Exec(&context_);
  ASSERT_TRUE(Start(stream.get()));
  std::string bytes("\0\xFF\n", 3);
  while (bytes.size() < 1024 * 1024) bytes += bytes;
  std::thread writer([&] {
    agent::ExecInput input;
    for (size_t at = 0; at < bytes.size(); at += 32 * 1024) {
      input.set_standard_input(bytes.substr(at, 32 * 1024));
      EXPECT_TRUE(Send(input, stream.get()));
    }
    input.set_close_input(true);
    EXPECT_TRUE(Send(input, stream.get()));
  });
  const Said said = HearAll(stream.get());
  writer.join();
  EXPECT_TRUE(said.status.ok()) << said.status.error_message();
  EXPECT_EQ(said.exit_status, 7);
  EXPECT_TRUE(said.out == bytes);
  EXPECT_TRUE(said.err == bytes);
  ASSERT_EQ(script_->commands.size(), 1u);
  EXPECT_THAT(script_->commands[0].argv(), ElementsAre("again", "-c"));
  EXPECT_EQ(script_->commands[0].user(), "me");
  EXPECT_EQ(script_->commands[0].env().at("A"), "1");
}

TEST_F(ExecTest, PassesSignalsOn) {
  const auto stream = client_->Exec(&context_);
  ASSERT_TRUE(Start(stream.get()));
  agent::ExecInput input;
  input.set_signal(SIGINT);
  ASSERT_TRUE(Send(input, stream.get()));
  const Said said = HearAll(stream.get());
  EXPECT_TRUE(said.status.ok());
  EXPECT_EQ(said.signal, SIGINT);
  EXPECT_THAT(Signals(), ElementsAre(SIGINT));
}

TEST_F(ExecTest, ACommandWhoseClientGoesAwayIsHungUp) {
  {
    const auto stream = client_->Exec(&context_);
    ASSERT_TRUE(Start(stream.get()));
    agent::ExecInput input;
    input.set_standard_input("x");
    ASSERT_TRUE(Send(input, stream.get()));
    control::ExecMessage message;
    ASSERT_TRUE(stream->Read(&message));
    context_.TryCancel();
    stream->Finish();
  }
  EXPECT_TRUE(Eventually([&] { return !Signals().empty(); }));
  EXPECT_THAT(Signals(), ElementsAre(SIGHUP));
}

TEST_F(ExecTest, ErrorsKeepTheirCodeAndMessage) {
  script_->exec_error = absl::PermissionDeniedError("agent: no user me");
  const auto stream = client_->Exec(&context_);
  Start(stream.get());
  stream->WritesDone();
  const Said said = HearAll(stream.get());
  EXPECT_EQ(said.status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(said.status.error_message(), "agent: no user me");
}

TEST_F(ExecTest, AMachineThatIsOffSaysSo) {
  grpc::ClientContext down;
  rum::HearAll(client_->Down(&down, ThisMachine()).get());
  const auto stream = client_->Exec(&context_);
  Start(stream.get());
  const Said said = HearAll(stream.get());
  EXPECT_EQ(said.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(said.status.error_message(),
            "dev is off (shut down, from inside or by `virsh shutdown`): `rum up` starts it");
}

TEST_F(ExecTest, NothingToRunIsAWrongCall) {
  for (const std::string& bytes :
       {std::string(), std::string("\xFF\xFF"), std::string("\x18\x01")}) {
    grpc::ClientContext context;
    const auto stream = client_->Exec(&context);
    control::ExecMessage message;
    message.set_config_path(world_.identity.config_path);
    message.set_agent_message(bytes);
    stream->Write(message);
    stream->WritesDone();
    const Said said = HearAll(stream.get());
    EXPECT_EQ(said.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(said.status.error_message(), "no command");
  }
  const auto silent = client_->Exec(&context_);
  silent->WritesDone();
  EXPECT_EQ(HearAll(silent.get()).status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(script_->commands.empty());
}

}  // namespace
}  // namespace rum
