// What people look at, over the socket: a login shell's start, the serial console, what machines
// use.
#include <gmock/gmock.h>
#include <sys/socket.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/controller/service/service_world.h"
#include "tests/eventually.h"

namespace rum {
namespace {

using testing::Contains;
using testing::HasSubstr;

class ViewsTest : public ServiceTest {
 protected:
  ViewsTest() { Apply(UpRequest()); }
  void Down() {
    grpc::ClientContext context;
    HearAll(client_->Down(&context, ThisMachine()).get());
  }
  grpc::ClientContext context_;
};

class ConsoleTest : public ViewsTest {
 protected:
  using Stream = grpc::ClientReaderWriter<control::DialMessage, control::DialMessage>;
  std::unique_ptr<Stream> Open(grpc::ClientContext* context, bool force = false) {
    auto stream = client_->Console(context);
    control::DialMessage message;
    message.set_config_path(world_.identity.config_path);
    message.set_force(force);
    EXPECT_TRUE(stream->Write(message));
    return stream;
  }
  static std::string ReadSome(Stream* stream) {
    control::DialMessage message;
    while (stream->Read(&message)) {
      if (!message.data().empty() || message.end()) return message.data();
    }
    return "the stream ended";
  }
};

TEST_F(ConsoleTest, PassesBytesBothWays) {
  const auto stream = Open(&context_);
  control::DialMessage message;
  ASSERT_TRUE(stream->Read(&message));
  EXPECT_TRUE(message.data().empty()) << "it is open";
  const int guest = world_.hypervisor->GuestEndOfConsole(world_.identity);
  ASSERT_GE(guest, 0);
  const std::string login("login: \0\xFF\x1B", 10);
  ASSERT_EQ(send(guest, login.data(), login.size(), 0), 10);
  EXPECT_EQ(ReadSome(stream.get()), login);
  message.set_data("root\r");
  ASSERT_TRUE(stream->Write(message));
  char typed[5];
  ASSERT_EQ(recv(guest, typed, 5, MSG_WAITALL), 5);
  EXPECT_EQ(std::string(typed, 5), "root\r");
}

TEST_F(ConsoleTest, OneAtATimeUnlessForced) {
  const auto first = Open(&context_);
  control::DialMessage message;
  ASSERT_TRUE(first->Read(&message));
  grpc::ClientContext second_context, third_context, fourth_context;
  const auto second = Open(&second_context);
  EXPECT_FALSE(second->Read(&message));
  const grpc::Status refused = second->Finish();
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(refused.error_message(), "somebody is at the console already");
  const auto third = Open(&third_context, true);
  ASSERT_TRUE(third->Read(&message));
  EXPECT_EQ(ReadSome(first.get()), "") << "the first one is told the end";
  // One who goes away leaves it to the next.
  third_context.TryCancel();
  third->Finish();
  EXPECT_TRUE(Eventually([&] {
    grpc::ClientContext context;
    const auto stream = Open(&context);
    return stream->Read(&message);
  }));
}

TEST_F(ConsoleTest, EndsWithTheMachine) {
  const auto stream = Open(&context_);
  control::DialMessage message;
  ASSERT_TRUE(stream->Read(&message));
  world_.hypervisor->PowerOff(world_.identity);
  ASSERT_TRUE(stream->Read(&message));
  EXPECT_TRUE(message.end());
}

TEST_F(ConsoleTest, AMachineThatIsOffSaysSo) {
  Down();
  const auto stream = Open(&context_);
  control::DialMessage message;
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_EQ(stream->Finish().error_message(),
            "dev is off (shut down, from inside or by `virsh shutdown`): `rum up` starts it");
}

TEST_F(ConsoleTest, TheEndOfWhatItSaidIsThereWithoutAPlaceAtIt) {
  const auto ask = [&](uint32_t lines, std::string* said) {
    grpc::ClientContext context;
    const auto stream = client_->Console(&context);
    control::DialMessage message;
    message.set_config_path(world_.identity.config_path);
    message.set_last_lines(lines);
    stream->Write(message);
    message.Clear();
    while (stream->Read(&message)) *said += message.data();
    return stream->Finish();
  };
  std::string said;
  EXPECT_EQ(ask(2, &said).error_code(), grpc::StatusCode::NOT_FOUND) << "it is not kept";
  world_.hypervisor->SetConsoleLog(world_.identity, "one\r\n\x1B[32mtwo\r\nthree\r\n");
  EXPECT_TRUE(ask(2, &said).ok());
  EXPECT_EQ(said, "two\nthree\n");
  EXPECT_EQ(world_.hypervisor->GuestEndOfConsole(world_.identity), -1);
}

TEST_F(ConsoleTest, NothingSaidIsAWrongCall) {
  const auto stream = client_->Console(&context_);
  stream->WritesDone();
  control::DialMessage message;
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

class StatsTest : public ViewsTest {
 protected:
  control::StatsReply Ask(const std::string& config_path = "") {
    control::StatsRequest request;
    request.set_config_path(config_path);
    control::StatsReply reply;
    grpc::ClientContext context;
    const grpc::Status status = client_->Stats(&context, request, &reply);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return reply;
  }
};

TEST_F(StatsTest, TellsWhatLibvirtAndTheForwardsSay) {
  Usage usage;
  usage.cpus = 2;
  usage.cpu_time = absl::Milliseconds(1500);
  usage.memory = 1 << 30;
  usage.memory_on_host = 700 << 20;
  usage.memory_in_guest = 1000 << 20;
  usage.disks.push_back({"vda", "/pool/root.qcow2", 20, 3, 2, 11, 12});
  usage.cards.push_back({"vnet0", 5, 6});
  world_.hypervisor->SetUsage(world_.identity, usage);
  const control::StatsReply reply = Ask();
  ASSERT_EQ(reply.machines_size(), 1);
  const control::MachineStats& told = reply.machines(0);
  EXPECT_EQ(told.id(), world_.identity.id);
  EXPECT_TRUE(told.running());
  EXPECT_EQ(told.reason(), "");
  EXPECT_GT(told.time_ms(), 1'700'000'000'000);
  EXPECT_EQ(told.cpu_time_ms(), 1500);
  EXPECT_EQ(told.memory_host_bytes(), 700 << 20);
  EXPECT_EQ(told.memory_guest_bytes(), 1000 << 20);
  EXPECT_FALSE(told.has_memory_available_bytes()) << "the guest did not tell it";
  ASSERT_EQ(told.disks_size(), 1);
  EXPECT_EQ(told.disks(0).path(), "/pool/root.qcow2");
  EXPECT_EQ(told.disks(0).capacity_bytes(), 20);
  EXPECT_EQ(told.disks(0).written_bytes(), 12);
  ASSERT_EQ(told.cards_size(), 1);
  EXPECT_EQ(told.cards(0).sent_bytes(), 6);
  ASSERT_EQ(told.forwards_size(), 2) << "of the file";
  EXPECT_THAT((std::vector<uint32_t>{told.forwards(0).host(), told.forwards(1).host()}),
              testing::UnorderedElementsAre(8080u, 5432u));
}

TEST_F(StatsTest, AMachineThatIsOffUsesNothing) {
  Down();
  const control::StatsReply reply = Ask(world_.identity.config_path);
  ASSERT_EQ(reply.machines_size(), 1);
  EXPECT_FALSE(reply.machines(0).running());
  EXPECT_EQ(reply.machines(0).reason(), "");
}

TEST_F(StatsTest, ALibvirtThatIsAwayIsTheReason) {
  world_.hypervisor->FailAll(absl::UnavailableError("libvirt is away"));
  const control::StatsReply reply = Ask();
  ASSERT_EQ(reply.machines_size(), 1);
  EXPECT_EQ(reply.machines(0).reason(), "libvirt is away");
  EXPECT_EQ(reply.machines(0).time_ms(), 0);
}

TEST_F(StatsTest, OneThatWasNotMadeSaysSo) {
  const std::string other = world_.folder() + "/other.rum.toml";
  std::ofstream(other) << world_.file.Toml();
  const control::StatsReply reply = Ask(other);
  ASSERT_EQ(reply.machines_size(), 1);
  EXPECT_THAT(reply.machines(0).reason(), HasSubstr("`rum up` makes it"));
  EXPECT_EQ(Ask().machines_size(), 1) << "and is in no list";
}

class ShellTest : public ViewsTest {
 protected:
  // What the guest was told to run.
  agent::ExecStart Run(const std::string& folder, agent::ExecStart start = {}) {
    const auto stream = client_->Exec(&context_);
    control::ExecMessage message;
    message.set_config_path(world_.identity.config_path);
    message.mutable_shell()->set_folder(folder);
    agent::ExecInput input;
    *input.mutable_start() = start;
    input.SerializeToString(message.mutable_agent_message());
    EXPECT_TRUE(stream->Write(message));
    input.set_close_input(true);
    input.SerializeToString(message.mutable_agent_message());
    stream->Write(message);
    stream->WritesDone();
    while (stream->Read(&message)) {
    }
    EXPECT_TRUE(stream->Finish().ok());
    return script_->commands.empty() ? agent::ExecStart() : script_->commands.back();
  }
};

TEST_F(ShellTest, IsThatOfTheUserOfTheFile) {
  world_.file.more = "[ssh]\nuser = \"me\"\n";
  world_.Save();
  const agent::ExecStart start = Run("/nowhere");
  EXPECT_EQ(start.user(), "me");
  EXPECT_EQ(start.argv(0), "/bin/sh");
}

TEST_F(ShellTest, OrOfWhoWasNamedInTheFolderThatWasNamed) {
  agent::ExecStart wanted;
  wanted.set_user("other");
  wanted.set_cwd("/srv/a b");
  wanted.add_argv("make");
  const agent::ExecStart start = Run("/nowhere", wanted);
  EXPECT_EQ(start.user(), "other");
  EXPECT_THAT(start.argv(), Contains("/srv/a b"));
  EXPECT_THAT(start.argv(), Contains("make"));
}

}  // namespace
}  // namespace rum
