// Listeners whose connections go over the forward channel, with the guest's end on a thread here.
#include "controller/listeners/forward_path.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "controller/listeners/listener_set.h"
#include "controller/listeners/listener_set_options.h"
#include "tests/controller/listeners/guest_thread.h"
#include "tests/controller/listeners/sockets.h"
#include "tests/eventually.h"

namespace rum {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

class ForwardChannel : public testing::Test {
 protected:
  void SetUp() override {
    signal(SIGPIPE, SIG_IGN);
    path_ = std::make_unique<ForwardPath>([this] { return guest_.OpenChannel(); });
    set_ = MakeListenerSet(Route());
    ASSERT_TRUE(set_->Apply({{"127.0.0.1", port_, server_.port()}})[0].bound.ok());
  }
  void TearDown() override {
    set_.reset();
    path_.reset();
    guest_.Stop();
  }
  GuestRoute Route() {
    return {[this](uint16_t, std::function<void(absl::StatusOr<int>)> done) {
              ++dialed_;
              done(absl::UnavailableError("no agent"));
            },
            [this] { return path_->carrier(); },
            {}};
  }
  Fd Client() const { return Connect("127.0.0.1", port_); }
  bool Echoes(const std::string& line = "hello\n") const {
    const Fd client = Client();
    return WriteAll(client.get(), line) && ReadExactly(client.get(), line.size()) == line;
  }

  EchoServer server_;
  GuestThread guest_;
  std::atomic<int> dialed_ = 0;
  const uint16_t port_ = FreePort();
  std::unique_ptr<ForwardPath> path_;
  std::unique_ptr<ListenerSet> set_;
};

TEST_F(ForwardChannel, CarriesAndCounts) {
  const Fd client = Client();
  WriteAll(client.get(), "hello\n");
  EXPECT_EQ(ReadLine(client.get()), "hello");
  const ForwardState state = set_->Observe()[0];
  EXPECT_EQ(state.open_connections, 1);
  EXPECT_EQ(state.bytes_in, 6);
  EXPECT_EQ(state.bytes_out, 6);
  EXPECT_EQ(dialed_, 0);
}

TEST_F(ForwardChannel, ManyMegabytesComeBackAsTheyWent) {
  const Fd client = Client();
  const std::string up = Pattern(8 << 20, 1);
  std::thread writer([&] {
    WriteAll(client.get(), up);
    shutdown(client.get(), SHUT_WR);
  });
  EXPECT_TRUE(ReadExactly(client.get(), up.size()) == up);
  EXPECT_EQ(EndOf(client.get()), 0);
  writer.join();
  EXPECT_TRUE(Eventually([&] { return set_->Observe()[0].open_connections == 0; }));
  EXPECT_EQ(set_->Observe()[0].last_error, "");
}

TEST_F(ForwardChannel, AClientOfAnAgentThatIsAwayIsServedWhenItIsBack) {
  ASSERT_TRUE(Echoes());
  guest_.Stop();
  const Fd client = Client();
  WriteAll(client.get(), "patient\n");
  guest_.Start();
  EXPECT_EQ(ReadLine(client.get()), "patient");
}

TEST_F(ForwardChannel, OpenConnectionsOfAnAgentThatDiesAreReset) {
  const Fd client = Client();
  WriteAll(client.get(), "hello\n");
  EXPECT_EQ(ReadLine(client.get()), "hello");
  guest_.Stop();
  guest_.Start();
  EXPECT_EQ(EndOf(client.get()), ECONNRESET);
  EXPECT_EQ(set_->Observe()[0].last_error, "the agent went away");
  EXPECT_TRUE(Echoes());
}

TEST_F(ForwardChannel, AProbeTellsWhetherTheGuestListens) {
  ASSERT_TRUE(Echoes());  // the session is there
  const uint16_t other = FreePort();
  set_->Apply({{"127.0.0.1", FreePort(), server_.port()}, {"127.0.0.1", other, FreePort()}});
  EXPECT_EQ(set_->Observe()[0].health, ForwardHealth::kUnknown);
  const int before = server_.accepted();
  set_->Probe(std::chrono::seconds(20));
  EXPECT_EQ(set_->Observe()[0].health, ForwardHealth::kUp);
  EXPECT_EQ(set_->Observe()[1].health, ForwardHealth::kDown);
  // What is known is not asked again at once.
  EXPECT_TRUE(Eventually([&] { return server_.accepted() == before + 1; }));
  set_->Probe(std::chrono::seconds(20));
  EXPECT_EQ(server_.accepted(), before + 1);
  EXPECT_EQ(EndOf(Connect("127.0.0.1", other).get()), ECONNRESET);
  EXPECT_NE(set_->Observe()[1].last_error.find("refused"), std::string::npos);
}

TEST_F(ForwardChannel, AReaderThatStandsStillHoldsNobodyUp) {
  const Fd slow = Client();
  std::thread flood([&] { WriteAll(slow.get(), std::string(32 << 20, 'x')); });
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(Echoes(Pattern(100000, 3)));
  shutdown(slow.get(), SHUT_RDWR);
  flood.join();
}

TEST_F(ForwardChannel, WithoutTheChannelClientsAreDialedFor) {
  set_.reset();
  path_ = std::make_unique<ForwardPath>(
      []() -> absl::StatusOr<int> { return absl::NotFoundError("no such channel"); });
  set_ = MakeListenerSet(Route(), {.patience = milliseconds(100)});
  set_->Apply({{"127.0.0.1", port_, server_.port()}});
  EXPECT_TRUE(Eventually([&] {
    const Fd client = Client();
    EXPECT_EQ(EndOf(client.get()), ECONNRESET);
    return dialed_ > 0;
  }));
}

TEST_F(ForwardChannel, TheEndOfThePathResetsItsConnections) {
  const Fd client = Client();
  WriteAll(client.get(), "hello\n");
  EXPECT_EQ(ReadLine(client.get()), "hello");
  const std::shared_ptr<Carrier> closed = path_->carrier();
  path_.reset();
  EXPECT_EQ(EndOf(client.get()), ECONNRESET);
  path_ = std::make_unique<ForwardPath>([this] { return guest_.OpenChannel(); });
  EXPECT_TRUE(Echoes());
}

TEST_F(ForwardChannel, ConnectionsOfAGuestThatHangsAreResetAndIdleOnesOfALivingOneAreNot) {
  set_.reset();
  path_.reset();  // the channel is for one client after another: two would take each other's bytes
  HostEndTimes times;
  times.quiet = milliseconds(50);
  times.silent = milliseconds(1000);
  path_ = std::make_unique<ForwardPath>([this] { return guest_.OpenChannel(); }, times);
  set_ = MakeListenerSet(Route());
  set_->Apply({{"127.0.0.1", port_, server_.port()}});
  const Fd client = Client();
  WriteAll(client.get(), "hello\n");
  EXPECT_EQ(ReadLine(client.get()), "hello");
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(Eventually([&] { return guest_.last_heard() > begin + times.silent; }));
  pollfd idle{client.get(), POLLIN, 0};
  EXPECT_EQ(poll(&idle, 1, 0), 0) << "the guest was asked for longer than it may be silent";
  guest_.Freeze(true);
  EXPECT_EQ(EndOf(client.get()), ECONNRESET);
  guest_.Freeze(false);
  EXPECT_TRUE(Eventually([&] { return Echoes(); }));
}

// Clients that send a pattern of their own, end it, and read what comes back.
void Chatter(uint16_t port, uint32_t seed, std::atomic<bool>* stop, std::atomic<int>* complete,
             std::atomic<int>* reset) {
  std::minstd_rand random(seed);
  while (!*stop) {
    const Fd client = Connect("127.0.0.1", port);
    if (!client.ok()) continue;
    const std::string own = Pattern(random() % 300000 + 1, static_cast<uint32_t>(random()));
    std::thread writer([&] {
      if (WriteAll(client.get(), own)) shutdown(client.get(), SHUT_WR);
    });
    const auto begin = steady_clock::now();
    const std::string back = ReadExactly(client.get(), own.size());
    const int end = back.size() == own.size() ? EndOf(client.get()) : -1;
    if (back.size() < own.size()) shutdown(client.get(), SHUT_RDWR);
    writer.join();
    EXPECT_TRUE(own.compare(0, back.size(), back) == 0) << "wrong bytes";
    EXPECT_LT(steady_clock::now() - begin, std::chrono::seconds(15));
    ++(end == 0 ? *complete : *reset);
  }
}

TEST_F(ForwardChannel, WhenTheAgentIsKilledAgainAndAgainConnectionsAreCompleteOrReset) {
  const char* asked = std::getenv("RUM_TEST_ROUNDS");
  const int rounds = asked == nullptr ? 15 : std::atoi(asked);
  ASSERT_TRUE(Echoes());
  const size_t before = OpenDescriptors();
  std::atomic<bool> stop = false;
  std::atomic<int> complete = 0;
  std::atomic<int> reset = 0;
  std::vector<std::thread> clients;
  for (uint32_t i = 0; i < 8; ++i) {
    clients.emplace_back([&, i] { Chatter(port_, i + 1, &stop, &complete, &reset); });
  }
  for (int round = 0; round < rounds; ++round) {
    const int at = complete;
    EXPECT_TRUE(Eventually([&] { return complete >= at + 5; })) << "in round " << round;
    guest_.Stop();
    guest_.Start();
  }
  stop = true;
  for (std::thread& client : clients) client.join();
  EXPECT_GT(reset, 0);
  EXPECT_TRUE(Eventually([&] { return set_->Observe()[0].open_connections == 0; }));
  EXPECT_TRUE(Eventually([&] { return OpenDescriptors() <= before; }));
}

}  // namespace
}  // namespace rum
