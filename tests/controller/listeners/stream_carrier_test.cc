// Listeners whose connections have a stream socket of their own each, with the guest's end on a
// thread here: a unix socket, or with $RUM_TEST_VSOCK a vsock of this machine's own loopback
// (vsock_loopback; tests/e2e/inside_test.cc runs that in a guest).
#include "controller/listeners/stream_carrier.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

// After sys/socket.h, which it needs.
#include <linux/vm_sockets.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "agent-api/forward/stream_secret.h"
#include "agent-api/forward/stream_server.h"
#include "agent-api/forward/vsock.h"
#include "controller/listeners/listener_set.h"
#include "controller/listeners/listener_set_options.h"
#include "tests/controller/listeners/sockets.h"
#include "tests/eventually.h"

namespace rum {
namespace {

using std::chrono::milliseconds;

bool ByVsock() { return std::getenv("RUM_TEST_VSOCK") != nullptr; }

// Where the guest's end listens: an abstract unix socket, or a vsock.
class Meeting {
 public:
  static int Listen() {
    if (ByVsock()) return ListenVsock(kPort);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const sockaddr_un at = Address();
    EXPECT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
    EXPECT_EQ(listen(fd, SOMAXCONN), 0);
    return fd;
  }
  static int Connect() {
    if (ByVsock()) return ConnectVsock(VMADDR_CID_LOCAL, kPort);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const sockaddr_un at = Address();
    if (connect(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0) return fd;
    const int error = errno;
    close(fd);
    errno = error;
    return -1;
  }

 private:
  static constexpr uint32_t kPort = 7777;
  static sockaddr_un Address() {
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    // Not the pid: in sandboxes of their own two tests may have the same one.
    static const unsigned ours = std::random_device()();
    std::snprintf(at.sun_path + 1, sizeof at.sun_path - 1, "rum-stream-%08x", ours);
    return at;
  }
};

void ConnectToMeeting(const std::function<void(int socket, int error)>& done) {
  const int socket = Meeting::Connect();
  done(socket, errno);
}

const std::string kSecret(kStreamSecretSize, 's');
std::string Secret() { return kSecret; }

// The agent's part.
class Agent {
 public:
  explicit Agent(int listening, const std::string& secret = kSecret)
      : server_(io_, listening, [secret] { return secret; }), thread_([this] { io_.run(); }) {}
  ~Agent() {  // as the end of the process does: every socket is closed
    io_.stop();
    thread_.join();
  }

 private:
  boost::asio::io_context io_;
  StreamServer server_;
  std::thread thread_;
};

class Streams : public testing::Test {
 protected:
  void SetUp() override {
    signal(SIGPIPE, SIG_IGN);
    agent_.emplace(Meeting::Listen());
    carrier_ = std::make_shared<StreamCarrier>(ConnectToMeeting, Secret, nullptr);
    carrier_->Start();
    set_ = MakeListenerSet(GuestRoute{[](uint16_t, std::function<void(absl::StatusOr<int>)> done) {
                                        done(absl::UnavailableError("no agent"));
                                      },
                                      [this] { return carrier_; },
                                      {}});
    ASSERT_TRUE(set_->Apply({{"127.0.0.1", port_, server_.port()}})[0].bound.ok());
    ASSERT_TRUE(Eventually([this] { return Echoes(); }));
  }
  void TearDown() override {
    set_.reset();
    carrier_->Close();
    agent_.reset();
  }
  Fd Client() const { return Connect("127.0.0.1", port_); }
  bool Echoes(const std::string& text = "hello\n") const {
    const Fd client = Client();
    return WriteAll(client.get(), text) && ReadExactly(client.get(), text.size()) == text;
  }
  ForwardState State() { return set_->Observe()[0]; }

  EchoServer server_;
  std::optional<Agent> agent_;
  const uint16_t port_ = FreePort();
  std::shared_ptr<StreamCarrier> carrier_;
  std::unique_ptr<ListenerSet> set_;
};

TEST_F(Streams, CarriesCountsAndTellsThatThePortIsReached) {
  const int64_t before = State().bytes_in;
  const Fd client = Client();
  WriteAll(client.get(), "hello\n");
  EXPECT_EQ(ReadLine(client.get()), "hello");
  EXPECT_EQ(State().open_connections, 1);
  EXPECT_EQ(State().bytes_in, before + 6);
  EXPECT_EQ(State().bytes_out, before + 6);
  EXPECT_EQ(State().health, ForwardHealth::kUp);
}

TEST_F(Streams, ManyMegabytesComeBackAsTheyWentAndTheEndGoesBothWays) {
  const Fd client = Client();
  const std::string up = Pattern(8 << 20, 1);
  std::thread writer([&] {
    WriteAll(client.get(), up);
    shutdown(client.get(), SHUT_WR);
  });
  EXPECT_TRUE(ReadExactly(client.get(), up.size()) == up);
  EXPECT_EQ(EndOf(client.get()), 0);
  writer.join();
  EXPECT_TRUE(Eventually([&] { return State().open_connections == 0; }));
  EXPECT_EQ(State().last_error, "");
}

TEST_F(Streams, AResetOfEitherEndIsPassedOn) {
  const Fd listener = Listen("127.0.0.1", 0);
  ASSERT_TRUE(set_->Apply({{"127.0.0.1", port_, LocalPort(listener)}})[0].bound.ok());
  const linger at_once{1, 0};
  for (const bool by_client : {true, false}) {
    Fd client = Client();
    Fd server(accept(listener.get(), nullptr, nullptr));
    const timeval limit{20, 0};
    setsockopt(server.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    WriteAll(client.get(), "hello\n");
    EXPECT_EQ(ReadLine(server.get()), "hello");
    Fd& breaks = by_client ? client : server;
    setsockopt(breaks.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    breaks = Fd();
    EXPECT_EQ(EndOf((by_client ? server : client).get()), ECONNRESET);
  }
}

TEST_F(Streams, AServerThatBreaksAfterItsEndIsAReset) {
  const Fd listener = Listen("127.0.0.1", 0);
  ASSERT_TRUE(set_->Apply({{"127.0.0.1", port_, LocalPort(listener)}})[0].bound.ok());
  const Fd client = Client();
  Fd server(accept(listener.get(), nullptr, nullptr));
  shutdown(server.get(), SHUT_WR);
  EXPECT_EQ(EndOf(client.get()), 0);
  const linger at_once{1, 0};
  setsockopt(server.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  server = Fd();
  EXPECT_TRUE(Eventually([&] { return !WriteAll(client.get(), "more"); }));
}

TEST_F(Streams, APortThatRefusesIsAResetWithItsReason) {
  ASSERT_TRUE(set_->Apply({{"127.0.0.1", port_, FreePort()}})[0].bound.ok());
  EXPECT_EQ(EndOf(Client().get()), ECONNRESET);
  EXPECT_TRUE(Eventually([&] { return State().last_error.find("refused") != std::string::npos; }));
  EXPECT_EQ(State().health, ForwardHealth::kDown);
}

TEST_F(Streams, AProbeConnectsAndClosesAgain) {
  const uint16_t other = FreePort();
  set_->Apply({{"127.0.0.1", FreePort(), server_.port()}, {"127.0.0.1", other, FreePort()}});
  const int before = server_.accepted();
  set_->Probe(std::chrono::seconds(20));
  EXPECT_EQ(set_->Observe()[0].health, ForwardHealth::kUp);
  EXPECT_EQ(set_->Observe()[1].health, ForwardHealth::kDown);
  EXPECT_TRUE(Eventually([&] { return server_.accepted() == before + 1; }));
}

TEST_F(Streams, AReaderThatStandsStillHoldsNobodyUp) {
  const Fd slow = Client();
  std::thread flood([&] { WriteAll(slow.get(), std::string(32 << 20, 'x')); });
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(Echoes(Pattern(100000, 3)));
  shutdown(slow.get(), SHUT_RDWR);
  flood.join();
}

TEST_F(Streams, AnAgentThatDiesResetsItsConnectionsAndServesThoseWhoWaitForItsReturn) {
  const Fd before = Client();
  WriteAll(before.get(), "hello\n");
  EXPECT_EQ(ReadLine(before.get()), "hello");
  agent_.reset();
  EXPECT_EQ(EndOf(before.get()), ECONNRESET);
  const Fd during = Client();
  WriteAll(during.get(), "patient\n");
  agent_.emplace(Meeting::Listen());
  EXPECT_EQ(ReadLine(during.get()), "patient");
}

TEST_F(Streams, TheEndOfTheWayResetsItsConnections) {
  const Fd client = Client();
  WriteAll(client.get(), "hello\n");
  EXPECT_EQ(ReadLine(client.get()), "hello");
  carrier_->Close();
  EXPECT_EQ(EndOf(client.get()), ECONNRESET);
}

TEST_F(Streams, ConnectionsLeaveNoDescriptorBehind) {
  const size_t before = OpenDescriptors();
  for (int i = 0; i < 200; ++i) EXPECT_TRUE(Echoes());
  EXPECT_TRUE(Eventually([&] { return OpenDescriptors() <= before; }));
}

// What carries as long as the guest does not serve streams.
class Otherwise : public Carrier {
 public:
  uint64_t Carry(Fd*, uint16_t, milliseconds, CarryEvents) override { return ++asked, 0; }
  void Abort(uint64_t, const std::string&) override {}
  bool Probe(uint16_t, std::function<void(int)>) override { return false; }
  std::atomic<int> asked = 0;
};

TEST(StreamCarrier, UntilTheGuestServesStreamsClientsGoTheOtherWay) {
  EchoServer server;
  const auto otherwise = std::make_shared<Otherwise>();
  StreamCarrierTimes times;
  times.longest_check = milliseconds(200);
  const auto carrier = std::make_shared<StreamCarrier>(ConnectToMeeting, Secret, otherwise, times);
  carrier->Start();
  ListenerSetOptions options;
  options.patience = milliseconds(20);
  const uint16_t port = FreePort();
  {
    const auto set =
        MakeListenerSet(GuestRoute{[](uint16_t, std::function<void(absl::StatusOr<int>)> done) {
                                     done(absl::FailedPreconditionError("nobody"));
                                   },
                                   [&] { return carrier; },
                                   {}},
                        options);
    set->Apply({{"127.0.0.1", port, server.port()}});
    // With one CPU the reset may be there before connect() has returned.
    const Fd refused = Connect("127.0.0.1", port);
    EXPECT_EQ(refused.get() < 0 ? errno : EndOf(refused.get()), ECONNRESET);
    EXPECT_EQ(otherwise->asked, 1);
    const Agent agent(Meeting::Listen());
    EXPECT_TRUE(Eventually([&] {
      const Fd client = Connect("127.0.0.1", port);
      return WriteAll(client.get(), "hello\n") && ReadLine(client.get()) == "hello";
    }));
  }
  carrier->Close();
}

// Who is at the other end is known by the secret of the agent's session.
class Strangers : public testing::Test {
 protected:
  void SetUp() override { signal(SIGPIPE, SIG_IGN); }

  static Fd Meet() {
    Fd stream(Meeting::Connect());
    pollfd connected{stream.get(), POLLOUT, 0};
    EXPECT_EQ(poll(&connected, 1, 60'000), 1);
    fcntl(stream.get(), F_SETFL, 0);
    return stream;
  }
  // What an agent answers to these bytes; short: it hung up.
  static std::string Ask(const std::string& bytes) {
    const Fd stream = Meet();
    const timeval limit{60, 0};
    setsockopt(stream.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    EXPECT_TRUE(WriteAll(stream.get(), bytes));
    return ReadExactly(stream.get(), kStreamAnswerSize);
  }
  // Whether a host with that secret has found out that its guest serves streams.
  static bool Trusts(const std::string& secret, const std::function<bool()>& asked) {
    StreamCarrierTimes times;
    times.longest_check = milliseconds(100);
    const auto carrier = std::make_shared<StreamCarrier>(
        ConnectToMeeting, [secret] { return secret; }, nullptr, times);
    carrier->Start();
    const bool trusts =
        Eventually([&] { return carrier->serving() || asked(); }) && carrier->serving();
    carrier->Close();
    return trusts;
  }
};

TEST_F(Strangers, WhoDoesNotKnowTheSecretIsNotAnsweredAndReachesNothing) {
  EchoServer server;
  const Agent agent(Meeting::Listen());
  const std::string nonce = NewStreamNonce();
  for (const StreamRequest kind :
       {StreamRequest::kHello, StreamRequest::kProbe, StreamRequest::kCarry}) {
    for (const std::string& secret : {std::string(kStreamSecretSize, 'x'), std::string()}) {
      std::string request = StreamRequestOf(kind, server.port(), nonce, secret);
      request.resize(kStreamRequestSize);
      EXPECT_EQ(Ask(request), "");
    }
  }
  // A proof for one port is none for another.
  std::string request = StreamRequestOf(StreamRequest::kProbe, 1, nonce, kSecret);
  request[1] = static_cast<char>(server.port() >> 8);
  request[2] = static_cast<char>(server.port() & 0xff);
  EXPECT_EQ(Ask(request), "");
  EXPECT_EQ(server.accepted(), 0);
  EXPECT_EQ(Ask(StreamRequestOf(StreamRequest::kProbe, server.port(), nonce, kSecret)),
            StreamAnswerOf(0, nonce, kSecret));
}

TEST_F(Strangers, HostsOfBeforeAreHungUpOnAtOnceSoThatTheyGoOnOtherwise) {
  const Agent agent(Meeting::Listen());
  for (const char kind : {0, 1, 2}) EXPECT_EQ(Ask({kind, 0, 80}), "");
}

TEST_F(Strangers, BeforeItsSessionAnAgentTakesNobody) {
  const Agent agent(Meeting::Listen(), "");
  std::string request = StreamRequestOf(StreamRequest::kHello, 0, NewStreamNonce(), "");
  request.resize(kStreamRequestSize);
  EXPECT_EQ(Ask(request), "");
}

TEST_F(Strangers, ThoseWhoSayNothingAreFewAtATime) {
  const Agent agent(Meeting::Listen());
  std::vector<Fd> silent;
  for (int i = 0; i < 200; ++i) silent.push_back(Meet());
  int ended = 0;
  EXPECT_TRUE(Eventually([&] {
    ended = 0;
    for (const Fd& one : silent) {
      pollfd ask{one.get(), POLLIN, 0};
      ended += poll(&ask, 1, 0);
    }
    return ended >= 100;
  })) << ended;
}

// In the guest's place, before the agent or instead of it.
class Impostor {
 public:
  explicit Impostor(std::function<std::string(const std::string& request)> answer)
      : listening_(Meeting::Listen()), thread_([this, answer = std::move(answer)] {
          for (;;) {
            pollfd ask[2] = {{listening_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
            if (poll(ask, 2, -1) < 0) continue;
            if (ask[1].revents != 0) return;
            const Fd stream(accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
            const std::string request = ReadExactly(stream.get(), kStreamRequestSize);
            WriteAll(stream.get(), answer(request));
            ++asked_;
          }
        }) {}
  ~Impostor() {
    eventfd_write(wake_.get(), 1);
    thread_.join();
  }
  int asked() const { return asked_; }

 private:
  const Fd listening_;
  const Fd wake_{eventfd(0, EFD_CLOEXEC)};
  std::atomic<int> asked_ = 0;
  std::thread thread_;
};

TEST_F(Strangers, AProcessOfTheGuestThatIsNotTheAgentIsNotBelieved) {
  const std::vector<std::function<std::string(const std::string&)>> answers = {
      [](const std::string&) { return std::string(2, '\0'); },
      [](const std::string&) { return std::string(kStreamAnswerSize, '\0'); },
      [](const std::string& request) {  // the host's own proof
        return std::string(2, '\0') + request.substr(request.size() - kStreamProofSize);
      },
      [](const std::string& request) {
        return StreamAnswerOf(0, request.substr(kStreamHeadSize, kStreamNonceSize), "");
      },
      [](const std::string& request) {
        return StreamAnswerOf(0, request.substr(kStreamHeadSize, kStreamNonceSize),
                              std::string(kStreamSecretSize, 'x'));
      },
  };
  for (const auto& answer : answers) {
    const Impostor impostor(answer);
    EXPECT_FALSE(Trusts(kSecret, [&] { return impostor.asked() >= 2; }));
  }
  const Impostor knows([](const std::string& request) {
    return StreamAnswerOf(0, request.substr(kStreamHeadSize, kStreamNonceSize), kSecret);
  });
  EXPECT_TRUE(Trusts(kSecret, [] { return false; }));
}

TEST_F(Strangers, WithoutASecretNobodyIsAsked) {
  const Impostor impostor([](const std::string&) { return std::string(2, '\0'); });
  std::atomic<int> looked = 0;
  StreamCarrierTimes times;
  times.first_check = milliseconds(5);
  const auto carrier = std::make_shared<StreamCarrier>(
      ConnectToMeeting,
      [&] {
        ++looked;
        return std::string();
      },
      nullptr, times);
  carrier->Start();
  EXPECT_TRUE(Eventually([&] { return looked > 3; }));
  EXPECT_EQ(impostor.asked(), 0);
  EXPECT_FALSE(carrier->serving());
  carrier->Close();
}

}  // namespace
}  // namespace rum
