// Who may talk to the controller, and over what.
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <fstream>

#include "absl/time/clock.h"
#include "controller/service/launch.h"
#include "tests/controller/service/service_world.h"
#include "tests/eventually.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

using SocketTest = ServiceTest;

constexpr uid_t kNobody = 65534;

// What a user gets who connects and waits for a word: the server's first bytes, or the end.
enum Answer { kSpokenTo = 10, kHungUp, kCannotConnect, kOther };
Answer ConnectAs(uid_t user, const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const pid_t child = fork();
  if (child == 0) {
    if (setresgid(user, user, user) != 0 || setresuid(user, user, user) != 0) _exit(kOther);
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
      _exit(errno == EACCES ? kCannotConnect : kOther);
    char byte = 0;
    const ssize_t n = read(fd, &byte, 1);
    _exit(n == 1 ? kSpokenTo : kHungUp);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return static_cast<Answer>(WEXITSTATUS(status));
}

TEST_F(SocketTest, IsForItsUserAlone) {
  struct stat info {};
  ASSERT_EQ(stat(socket_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
  EXPECT_TRUE(S_ISSOCK(info.st_mode));
}

TEST_F(SocketTest, AnotherUserIsRefusedWhateverTheFilesModeSays) {
  ASSERT_EQ(getuid(), 0u) << "only root can be somebody else";
  fs::permissions(folder_, fs::perms(0755));
  EXPECT_EQ(ConnectAs(kNobody, socket_), kCannotConnect);
  fs::permissions(socket_, fs::perms(0666));
  EXPECT_EQ(ConnectAs(kNobody, socket_), kHungUp);
  EXPECT_EQ(ConnectAs(0, socket_), kSpokenTo);
  grpc::ClientContext context;
  control::InfoReply info;
  EXPECT_TRUE(client_->Info(&context, control::InfoRequest(), &info).ok());
}

TEST_F(SocketTest, InfoAndStop) {
  grpc::ClientContext context;
  control::InfoReply info;
  ASSERT_TRUE(client_->Info(&context, control::InfoRequest(), &info).ok());
  EXPECT_EQ(info.pid(), getpid());
  EXPECT_EQ(info.version(), kVersion);
  EXPECT_EQ(info.machines(), 0);
  EXPECT_GT(info.started_ms(), 0);
  Apply(UpRequest());
  grpc::ClientContext again;
  ASSERT_TRUE(client_->Info(&again, control::InfoRequest(), &info).ok());
  EXPECT_EQ(info.machines(), 1);
  grpc::ClientContext stop;
  control::StopReply reply;
  EXPECT_TRUE(client_->Stop(&stop, control::StopRequest(), &reply).ok());
  EXPECT_EQ(stops_, 1);
}

TEST_F(SocketTest, IsGoneWithTheServer) {
  EXPECT_TRUE(fs::exists(socket_));
  StopServer();
  EXPECT_FALSE(fs::exists(socket_));
  grpc::ClientContext context;
  control::InfoReply info;
  EXPECT_EQ(client_->Info(&context, control::InfoRequest(), &info).error_code(),
            grpc::StatusCode::UNAVAILABLE);
}

TEST_F(SocketTest, AClientThatSaysNothingStopsNothing) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socket_.copy(address.sun_path, sizeof address.sun_path - 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  grpc::ClientContext context;
  control::InfoReply info;
  EXPECT_TRUE(client_->Info(&context, control::InfoRequest(), &info).ok());
  const absl::Time begin = absl::Now();
  StopServer();
  EXPECT_LT(absl::Now() - begin, absl::Seconds(60));
  close(fd);
}

TEST_F(SocketTest, WhatAKilledServerLeftIsReplaced) {
  StopServer();
  std::ofstream(socket_) << "left over";
  FakeWorld other;
  Controller controller(other.Parts());
  const auto server = ControlServer::Listen(socket_, &controller, [] {});
  ASSERT_TRUE(server.ok()) << server.status();
  grpc::ClientContext context;
  control::InfoReply info;
  EXPECT_TRUE(NewClient()->Info(&context, control::InfoRequest(), &info).ok());
}

TEST_F(SocketTest, OneThatNobodyNeedsLetsNobodyInAndSaysSo) {
  const std::string path = folder_ + "/idle.sock";
  std::atomic<int> stops = 0;
  FakeWorld other;
  Controller controller(other.Parts());
  const auto server = ControlServer::Listen(
      path, &controller, [&] { ++stops; }, absl::Milliseconds(100));
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_TRUE(Eventually([&] { return stops == 1; }));
  EXPECT_FALSE(fs::exists(path));
}

TEST_F(SocketTest, AConnectionOrAMachineKeepsItUp) {
  const std::string path = folder_ + "/busy.sock";
  std::atomic<int> stops = 0;
  std::atomic<int> hours = 0, looks = 0;
  const auto server = ControlServer::Listen(
      path, controller_.get(), [&] { ++stops; }, absl::Milliseconds(20),
      [&] { return ++looks, absl::UnixEpoch() + absl::Hours(hours.load()); });
  ASSERT_TRUE(server.ok()) << server.status();
  socket_ = path;
  auto client = NewClient();
  // A context holds its call's connection, so that none may outlive its client here.
  const auto answers = [&] {
    grpc::ClientContext context;
    control::InfoReply info;
    return client->Info(&context, control::InfoRequest(), &info).ok();
  };
  const auto stays = [&] {
    ++hours;
    // The first may have been on its way; the next one is one that knows what time it is.
    const bool looked = Eventually([&, before = looks.load()] { return looks >= before + 2; });
    return looked && answers() && stops == 0;
  };
  EXPECT_TRUE(answers());
  EXPECT_TRUE(stays());
  Apply(UpRequest());
  client.reset();
  client = NewClient();
  EXPECT_TRUE(stays());
  {
    grpc::ClientContext destroy;
    HearAll(client->Destroy(&destroy, ThisMachine()).get());
  }
  client.reset();
  EXPECT_TRUE(Eventually([&] { return ++hours, stops == 1; }));
}

TEST_F(SocketTest, APathThatCannotBeASocketsIsAnError) {
  const auto too_long =
      ControlServer::Listen(folder_ + "/" + std::string(107, 'x'), controller_.get(), [] {});
  EXPECT_EQ(too_long.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(too_long.status().message()), HasSubstr("RUM_RUNTIME_DIR"));
  const auto nowhere = ControlServer::Listen(folder_ + "/no/sock", controller_.get(), [] {});
  EXPECT_THAT(std::string(nowhere.status().message()), HasSubstr("No such file or directory"));
}

}  // namespace
}  // namespace rum
