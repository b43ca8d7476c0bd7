// The whole path of a forward but the VM, over the forward channel and over the agent's gRPC:
// listener, the guest's process and the real agent, with socket pairs for the virtio ports and this
// host's loopback for the guest's.
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "controller/listeners/listener_set.h"
#include "tests/controller/guests/by_process.h"
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
    agent_ = ConnectByProcess([this]() -> absl::StatusOr<int> { return dup(channel_.get()); });
    ASSERT_TRUE(agent_->WaitConnected(absl::Seconds(20)).ok());
    server_ = Listen("127.0.0.1", 0);
    GuestRoute route;
    route.dial = [this](uint16_t port, auto done) { agent_->Dial(port, std::move(done)); };
    if (GetParam() != Way::kGrpc) {
      std::function<int()> connect;
      if (GetParam() == Way::kStreams) connect = [this] { return ConnectStream(); };
      carrier_ = agent_->Forwards(
          [this]() -> absl::StatusOr<int> { return dup(forward_channel_.get()); }, connect);
      route.carrier = [this] { return carrier_; };
      route.dial = [](uint16_t, auto done) { done(absl::UnavailableError("not this way")); };
    }
    set_ = MakeListenerSet(std::move(route));
    ASSERT_TRUE(set_->Apply({{"127.0.0.1", port_, LocalPort(server_)}})[0].bound.ok());
    if (GetParam() == Way::kStreams) {
      EXPECT_TRUE(Eventually([this] { return GoesByAStream(); }, std::chrono::seconds(60)));
    }
  }
  // Until the guest is known to serve that, clients go by the channel.
  bool GoesByAStream() {
    const int before = streamed_;
    const Fd client = Client();
    const Fd served = Served();
    EXPECT_TRUE(WriteAll(client.get(), "x"));
    EXPECT_EQ(ReadExactly(served.get(), 1), "x");
    return before > 0 && streamed_ > before;
  }
  void TearDown() override {
    set_.reset();
    if (carrier_ != nullptr) carrier_->Close();
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
  int ConnectStream() {
    ++streamed_;
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
  std::unique_ptr<GuestProcess> agent_;
  const sockaddr_un streams_at_ = AnyAddress();
  std::atomic<int> streamed_ = 0;
  std::shared_ptr<ProcessCarrier> carrier_;
  std::unique_ptr<ListenerSet> set_;
};

INSTANTIATE_TEST_SUITE_P(Ways, AgentForward,
                         testing::Values(Way::kGrpc, Way::kChannel, Way::kStreams),
                         [](const auto& way) {
                           return way.param == Way::kGrpc      ? "grpc"
                                  : way.param == Way::kChannel ? "channel"
                                                               : "streams";
                         });

TEST_P(AgentForward, GoesOnAndAScriptWithItWhenAnotherGuestsProcessDies) {
  const auto other = ConnectByProcess(
      []() -> absl::StatusOr<int> { return absl::UnavailableError("no channel"); });
  const Fd client = Client();
  const Fd served = Served();
  std::string heard;
  std::thread script([&] {
    agent::RunScriptRequest request;
    request.set_kind("boot");
    request.set_run_id("one");
    request.set_script("for i in 1 2 3 4; do echo $i; sleep 0.1; done");
    const auto run = agent_->RunScript(
        request, [&](const agent::RunScriptEvent& event) { heard += event.standard_output(); });
    EXPECT_TRUE(run.ok()) << run.status();
  });
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(Eventually([&] { return other->pid() > 0; }, std::chrono::seconds(60)));
    const pid_t pid = other->pid();
    kill(pid, SIGKILL);
    EXPECT_TRUE(Eventually([&] { return other->pid() != pid; }, std::chrono::seconds(60)));
    EXPECT_EQ(send(client.get(), "there", 5, 0), 5);
    EXPECT_EQ(ReadExactly(served.get(), 5), "there");
    EXPECT_EQ(send(served.get(), "back", 4, 0), 4);
    EXPECT_EQ(ReadExactly(client.get(), 4), "back");
  }
  script.join();
  EXPECT_EQ(heard, "1\n2\n3\n4\n");
}

TEST_P(AgentForward, IsResetWhenItsOwnProcessDiesAndTheNextClientIsServed) {
  const Fd client = Client();
  const Fd served = Served();
  EXPECT_EQ(send(client.get(), "there", 5, 0), 5);
  EXPECT_EQ(ReadExactly(served.get(), 5), "there");
  kill(agent_->pid(), SIGKILL);
  EXPECT_EQ(EndOf(client.get()), ECONNRESET);
  ASSERT_TRUE(agent_->WaitConnected(absl::Seconds(60)).ok());
  EXPECT_TRUE(Eventually(
      [&] {
        const Fd next = Client();
        pollfd there{server_.get(), POLLIN, 0};
        if (poll(&there, 1, 5'000) != 1) return false;
        const Fd served_next = Served();
        return send(next.get(), "again", 5, MSG_NOSIGNAL) == 5 &&
               ReadExactly(served_next.get(), 5) == "again";
      },
      std::chrono::seconds(60)));
}

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
  // The client hears it before the one who is asked.
  EXPECT_TRUE(Eventually(
      [this] { return set_->Observe()[0].last_error.find("refused") != std::string::npos; },
      std::chrono::seconds(60)))
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
