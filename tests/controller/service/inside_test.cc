// rum cp, rum ssh and its proxy over the socket.
#include <gmock/gmock.h>

#include <fstream>
#include <iterator>

#include "controller/service/known_hosts.h"
#include "tests/controller/service/service_world.h"

namespace rum {
namespace {

using testing::HasSubstr;

class InsideTest : public ServiceTest {
 protected:
  InsideTest() { Apply(UpRequest()); }
  std::string Slurp(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  grpc::ClientContext context_;
};

TEST_F(InsideTest, ACopyThatEndsWithAnErrorSaysIt) {
  const auto stream = client_->Copy(&context_);
  agent::CopyMessage start;
  start.mutable_start()->set_path("/x");
  control::ExecMessage message;
  message.set_config_path(world_.identity.config_path);
  start.SerializeToString(message.mutable_agent_message());
  ASSERT_TRUE(stream->Write(message));
  stream->WritesDone();
  agent::CopyMessage last;
  while (stream->Read(&message)) ASSERT_TRUE(last.ParseFromString(message.agent_message()));
  EXPECT_EQ(last.end().error(), "there are no files in this guest");
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(InsideTest, WhatIsNoCopyIsAWrongCall) {
  const auto stream = client_->Copy(&context_);
  stream->WritesDone();
  control::ExecMessage message;
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(InsideTest, APortThatNobodyListensOnIsRefusedWithAReason) {
  const auto stream = client_->Dial(&context_);
  control::DialMessage message;
  message.set_config_path(world_.identity.config_path);
  message.set_port(22);
  ASSERT_TRUE(stream->Write(message));
  EXPECT_FALSE(stream->Read(&message));
  stream->WritesDone();
  EXPECT_EQ(stream->Finish().error_message(), "nothing listens in the guest");
}

TEST_F(InsideTest, AMachineWithoutAnSshdSaysSo) {
  control::SshReply reply;
  const grpc::Status status = client_->Ssh(&context_, ThisMachine(), &reply);
  EXPECT_FALSE(status.ok());
}

TEST(KnownHosts, HoldJustTheKeysOfTheHostAndNothingElseThatAGuestSays) {
  const std::string path = std::string(std::getenv("TEST_TMPDIR")) + "/known_hosts";
  ASSERT_TRUE(WriteKnownHosts(path, "rum-a", {"ssh-rsa OLD="}).ok());
  ASSERT_TRUE(WriteKnownHosts(
                  path, "rum-a",
                  {"ssh-ed25519 AAAAC3+/=", "ssh-rsa AAAA\n* ssh-rsa EVIL", "@cert-authority AAAA",
                   "nokey", " x", "ecdsa-sha2-nistp256 AAAAE2", "sk-ssh-ed25519@openssh.com AAAAG"})
                  .ok());
  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(text,
            "rum-a ssh-ed25519 AAAAC3+/=\nrum-a ecdsa-sha2-nistp256 AAAAE2\n"
            "rum-a sk-ssh-ed25519@openssh.com AAAAG\n");
  EXPECT_THAT(std::string(WriteKnownHosts(path, "rum-a", {}).message()),
              HasSubstr("is an ssh server installed there?"));
}

}  // namespace
}  // namespace rum
