// The whole path of a forward but the VM, over the forward channel and over the agent's gRPC:
// listener, relay and the real agent, with socket pairs for the virtio ports and this host's
// loopback for the guest's.
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "agent-api/client/guest_agent.h"
#include "controller/listeners/forward_path.h"
#include "controller/listeners/listener_set.h"
#include "controller/listeners/stream_carrier.h"
#include "tests/controller/listeners/sockets.h"
#include "tests/eventually.h"

namespace rum {
namespace {

enum class Way { kGrpc, kChannel, kStreams };

class AgentForward : public testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    signal(SIGPIPE, SIG_IGN);  // as the controller's process does
    Fd guest;
    Fd forward_guest;
    ASSERT_TRUE(SocketPair(&guest, &channel_));
    ASSERT_TRUE(SocketPair(&forward_guest, &forward_channel_));
    const int inherited = dup(guest.get());  // without close-on-exec
    const int forward_inherited = dup(forward_guest.get());
    const std::string number = std::to_string(inherited);
    const std::string state = testing::TempDir() + "agent";
    std::vector<std::string> words = {RUM_AGENT, "--port-fd", number, "--state", state};
    words.insert(words.end(), {"--forward-fd", std::to_string(forward_inherited)});
    const int streams = ListenForStreams();  // without close-on-exec
    words.insert(words.end(), {"--stream-fd", std::to_string(streams)});
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    ASSERT_EQ(posix_spawn(&pid_, RUM_AGENT, nullptr, nullptr, argv.data(), environ), 0);
    close(inherited);
    close(forward_inherited);
    close(streams);
    agent_ =
        ConnectGuestAgent([this]() -> absl::StatusOr<int> { return dup(channel_.get()); }, nullptr);
    ASSERT_TRUE(agent_->WaitConnected(absl::Seconds(20)).ok());
    server_ = Listen("127.0.0.1", 0);
    GuestRoute route;
    if (GetParam() == Way::kStreams) {
      streams_ = std::make_shared<StreamCarrier>(
          [this] { return ConnectStream(); }, [this] { return agent_->StreamSecret(); }, nullptr);
      streams_->Start();
      ASSERT_TRUE(Eventually([this] { return streams_->serving(); }));
      route.carrier = [this] { return streams_; };
      route.dial = [](uint16_t, auto done) { done(absl::UnavailableError("not this way")); };
    } else if (GetParam() == Way::kChannel) {
      path_ = std::make_unique<ForwardPath>(
          [this]() -> absl::StatusOr<int> { return dup(forward_channel_.get()); });
      route.carrier = [this] { return path_->carrier(); };
      route.dial = [](uint16_t, auto done) { done(absl::UnavailableError("not this way")); };
    } else {
      route.dial = [this](uint16_t port, auto done) { agent_->Dial(port, std::move(done)); };
    }
    set_ = MakeListenerSet(std::move(route));
    ASSERT_TRUE(set_->Apply({{"127.0.0.1", port_, LocalPort(server_)}})[0].bound.ok());
  }
  void TearDown() override {
    set_.reset();
    path_.reset();
    if (streams_ != nullptr) streams_->Close();
    agent_.reset();
    KillAgent();
  }

  // In the place of a vsock of the guest's.
  int ListenForStreams() const {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    EXPECT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&streams_at_), sizeof streams_at_), 0);
    EXPECT_EQ(listen(fd, SOMAXCONN), 0);
    return fd;
  }
  int ConnectStream() const {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const auto* at = reinterpret_cast<const sockaddr*>(&streams_at_);
    if (connect(fd, at, sizeof streams_at_) == 0) return fd;
    const int error = errno;
    close(fd);
    errno = error;
    return -1;
  }
  static sockaddr_un AnyAddress() {
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    std::snprintf(at.sun_path + 1, sizeof at.sun_path - 1, "rum-agent-%08x",
                  std::random_device()());
    return at;
  }

  void KillAgent() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  Fd Client() const { return Connect("127.0.0.1", port_); }
  Fd Served() const { return Fd(accept4(server_.get(), nullptr, nullptr, SOCK_CLOEXEC)); }

  const uint16_t port_ = FreePort();
  Fd channel_;
  Fd forward_channel_;
  Fd server_;  // "in the guest"
  pid_t pid_ = -1;
  std::unique_ptr<GuestAgent> agent_;
  const sockaddr_un streams_at_ = AnyAddress();
  std::unique_ptr<ForwardPath> path_;
  std::shared_ptr<StreamCarrier> streams_;
  std::unique_ptr<ListenerSet> set_;
};

INSTANTIATE_TEST_SUITE_P(Ways, AgentForward,
                         testing::Values(Way::kGrpc, Way::kChannel, Way::kStreams),
                         [](const auto& way) {
                           return way.param == Way::kGrpc      ? "grpc"
                                  : way.param == Way::kChannel ? "channel"
                                                               : "streams";
                         });

TEST_P(AgentForward, CarriesManyBytesBothWaysAndHalfCloses) {
  const Fd client = Client();
  const Fd served = Served();
  std::string up(4 << 20, '\0');
  for (size_t i = 0; i < up.size(); ++i) up[i] = static_cast<char>(i * 2654435761u >> 13);
  const std::string down(up.rbegin(), up.rend());
  std::thread upload([&] {
    WriteAll(client.get(), up);
    shutdown(client.get(), SHUT_WR);
  });
  EXPECT_TRUE(ReadExactly(served.get(), up.size()) == up);
  EXPECT_EQ(EndOf(served.get()), 0);
  upload.join();
  std::thread download([&] {
    WriteAll(served.get(), down);
    shutdown(served.get(), SHUT_WR);
  });
  EXPECT_TRUE(ReadExactly(client.get(), down.size()) == down);
  EXPECT_EQ(EndOf(client.get()), 0);
  download.join();
  EXPECT_TRUE(Eventually([&] { return set_->Observe()[0].open_connections == 0; }));
  EXPECT_EQ(set_->Observe()[0].last_error, "");
}

TEST_P(AgentForward, AServerThatAnswersAndClosesIsACleanEnd) {
  for (int i = 0; i < 30; ++i) {
    const Fd client = Client();
    Fd served = Served();
    WriteAll(client.get(), "GET /\n");
    EXPECT_EQ(ReadLine(served.get()), "GET /");
    WriteAll(served.get(), std::string(100000, 'x'));
    served = Fd();
    EXPECT_EQ(ReadExactly(client.get(), 100000).size(), 100000u);
    EXPECT_EQ(EndOf(client.get()), 0);
  }
  EXPECT_TRUE(Eventually([&] { return set_->Observe()[0].open_connections == 0; }));
  EXPECT_EQ(set_->Observe()[0].last_error, "");
}

TEST_P(AgentForward, APortWithoutAServerIsAReset) {
  server_ = Fd();
  EXPECT_EQ(EndOf(Client().get()), ECONNRESET);
  EXPECT_NE(set_->Observe()[0].last_error.find("refused"), std::string::npos)
      << set_->Observe()[0].last_error;
}

TEST_P(AgentForward, AKilledAgentResetsItsConnections) {
  const Fd client = Client();
  const Fd served = Served();
  WriteAll(served.get(), "half of\n");
  EXPECT_EQ(ReadLine(client.get()), "half of");
  KillAgent();
  EXPECT_EQ(EndOf(client.get()), ECONNRESET);
}

TEST_P(AgentForward, AResetOfTheServerIsAResetOfTheClient) {
  const Fd client = Client();
  Fd served = Served();
  WriteAll(client.get(), "hello\n");
  EXPECT_EQ(ReadLine(served.get()), "hello");
  const linger reset{1, 0};
  setsockopt(served.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  served = Fd();
  EXPECT_EQ(EndOf(client.get()), ECONNRESET);
}

TEST_P(AgentForward, AResetOfTheClientIsAResetOfTheServer) {
  Fd client = Client();
  const Fd served = Served();
  WriteAll(client.get(), "hello\n");
  EXPECT_EQ(ReadLine(served.get()), "hello");
  const linger reset{1, 0};
  setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  client = Fd();
  EXPECT_EQ(EndOf(served.get()), ECONNRESET);
}

TEST_P(AgentForward, AResetOfTheClientAfterItsEndIsAResetOfTheServer) {
  Fd client = Client();
  const Fd served = Served();
  WriteAll(client.get(), "that is all");
  shutdown(client.get(), SHUT_WR);
  EXPECT_EQ(ReadExactly(served.get(), 100), "that is all");
  const linger reset{1, 0};
  setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  client = Fd();
  // The end was read; only the error tells, also to a server that has nothing to say.
  pollfd broken{served.get(), 0, 0};
  ASSERT_EQ(poll(&broken, 1, 20000), 1);
  EXPECT_NE(broken.revents & POLLERR, 0);
}

TEST_P(AgentForward, AResetOfTheServerAfterItsEndIsAResetOfTheClient) {
  const Fd client = Client();
  Fd served = Served();
  WriteAll(served.get(), "that is all");
  shutdown(served.get(), SHUT_WR);
  EXPECT_EQ(ReadExactly(client.get(), 100), "that is all");
  const linger reset{1, 0};
  setsockopt(served.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  served = Fd();
  // The guest's kernel tells the agent with the next bytes.
  EXPECT_TRUE(Eventually([&] { return !WriteAll(client.get(), "more"); }));
}

}  // namespace
}  // namespace rum
