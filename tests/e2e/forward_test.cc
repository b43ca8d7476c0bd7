// Forwards on a real VM, under load, while they change. Longer by hand: RUM_TEST_CONNECTIONS=2000
// RUM_TEST_CHANGES=200 RUM_TEST_KILLS=50.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "tests/bench/guest_side.h"
#include "tests/e2e/world.h"
#include "tests/eventually.h"

namespace rum::e2e {
namespace {

using std::chrono::seconds;

constexpr uint16_t kServer = 7000;

bool Eventually(const std::function<bool()>& holds, seconds limit = seconds(30)) {
  return rum::Eventually(holds, limit);
}

int Asked(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoi(text);
}

// Connections that each send a pattern of their own without pause and check what comes back, on one
// thread.
class Swarm {
 public:
  Swarm(uint16_t port, int connections) : clients_(static_cast<size_t>(connections)) {
    for (size_t i = 0; i < clients_.size(); ++i) {
      clients_[i].fd = Connect(port);
      clients_[i].next_out = clients_[i].next_in = static_cast<uint32_t>(i) * 2654435761u;
      if (clients_[i].fd < 0 || send(clients_[i].fd, "E", 1, MSG_NOSIGNAL) != 1) Lose(&clients_[i]);
    }
    thread_ = std::thread([this] { Run(); });
  }
  ~Swarm() {
    stop_ = true;
    thread_.join();
    for (const Client& client : clients_) {
      if (client.fd >= 0) close(client.fd);
    }
  }

  int lost() const { return lost_; }    // reset, or closed by the other end
  int wrong() const { return wrong_; }  // that got a byte which was not sent
  // How many full rounds the slowest living connection has made.
  uint64_t least() const { return least_; }
  bool Flows() const {
    const uint64_t at = least_;
    return Eventually([&] { return least_ > at + 1; }, seconds(60));
  }

 private:
  static constexpr size_t kPiece = 512;
  struct Client {
    int fd = -1;
    uint32_t next_out = 0;
    uint32_t next_in = 0;
    size_t under_way = 0;
    uint64_t rounds = 0;
  };

  static char Step(uint32_t* state) {
    *state = *state * 1664525u + 1013904223u;
    return static_cast<char>(*state >> 24);
  }
  void Lose(Client* client) {
    if (client->fd >= 0) close(client->fd);
    client->fd = -1;
    ++lost_;
  }
  void Run() {
    std::vector<pollfd> polls(clients_.size());
    while (!stop_) {
      uint64_t least = UINT64_MAX;
      for (size_t i = 0; i < clients_.size(); ++i) {
        Client& client = clients_[i];
        if (client.fd >= 0 && client.under_way == 0) Send(&client);
        polls[i] = {client.fd, POLLIN, 0};
        if (client.fd >= 0) least = std::min(least, client.rounds);
      }
      least_ = least == UINT64_MAX ? 0 : least;
      poll(polls.data(), polls.size(), 100);
      for (size_t i = 0; i < clients_.size(); ++i) {
        if (polls[i].revents != 0) Receive(&clients_[i]);
      }
    }
  }
  void Send(Client* client) {
    char piece[kPiece];
    for (char& byte : piece) byte = Step(&client->next_out);
    if (send(client->fd, piece, sizeof piece, MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof piece)) {
      return Lose(client);
    }
    client->under_way = sizeof piece;
  }
  void Receive(Client* client) {
    char piece[kPiece];
    const ssize_t n = recv(client->fd, piece, sizeof piece, MSG_DONTWAIT);
    if (n <= 0) return Lose(client);
    for (ssize_t i = 0; i < n; ++i) {
      if (piece[i] == Step(&client->next_in)) continue;
      ++wrong_;
      return Lose(client);
    }
    client->under_way -= static_cast<size_t>(n);
    if (client->under_way == 0) ++client->rounds;
  }

  std::vector<Client> clients_;
  std::atomic<bool> stop_ = false;
  std::atomic<int> lost_ = 0;
  std::atomic<int> wrong_ = 0;
  std::atomic<uint64_t> least_ = 0;
  std::thread thread_;
};

// "E" and a line, back as the line alone.
bool Echoes(uint16_t port) {
  const int fd = Connect(port);
  if (fd < 0) return false;
  const timeval limit{10, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  char back[5];
  const bool good = send(fd, "Ehello", 6, MSG_NOSIGNAL) == 6 &&
                    recv(fd, back, sizeof back, MSG_WAITALL) == 5 &&
                    std::string(back, 5) == "hello";
  close(fd);
  return good;
}

// One VM for all cases.
class Forwards : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    world_ = new World(std::getenv("RUM_TEST_URI"), FirstBoot::kShort);
    kept_ = FreePort();
    world_->file.ports = {{kept_, kServer}};
    world_->file.auto_reconcile = true;
    world_->Save();
    up_ = world_->Rum({"up", "-d"});
    started_ = bench::PutInGuest(*world_);
    if (started_.ok()) started_ = bench::StartTrafficServer(*world_, kServer);
  }
  static void TearDownTestSuite() {
    delete world_;
    world_ = nullptr;
  }
  void SetUp() override {
    ASSERT_EQ(up_.exit_status, 0) << up_.out << up_.err;
    ASSERT_TRUE(started_.ok()) << started_;
    ASSERT_TRUE(Eventually([] { return Echoes(kept_); }));
  }
  // The item of the one forward to the guest's `port`.
  static Item Find(uint32_t guest) {
    const MachineStatus status = world_->Status();
    for (const Item& item : status.items()) {
      if (item.has_forward() && item.forward().guest() == guest) return item;
    }
    return {};
  }

  static inline World* world_ = nullptr;
  static inline Result up_;
  static inline absl::Status started_;
  static inline uint16_t kept_;
};

TEST_F(Forwards, GoOverTheirOwnChannelAndAreCounted) {
  EXPECT_EQ(world_->Guest("ls /dev/virtio-ports"), "org.rum.agent.0\norg.rum.forward.0");
  const Item item = Find(kServer);
  EXPECT_EQ(item.state(), Item::HOLDS) << item.ShortDebugString();
  EXPECT_EQ(item.forward().host(), kept_);
  EXPECT_GE(item.forward().bytes_to_guest(), 6);
  EXPECT_GE(item.forward().bytes_to_host(), 5);
  EXPECT_EQ(item.forward().health(), ForwardFacts::UP);
}

TEST_F(Forwards, ConnectionsOfAnUntouchedForwardLoseNothingWhileOthersChange) {
  const int connections = Asked("RUM_TEST_CONNECTIONS", 150);
  const int changes = Asked("RUM_TEST_CHANGES", 12);
  Swarm swarm(kept_, connections);
  ASSERT_TRUE(swarm.Flows());
  EXPECT_EQ(swarm.lost(), 0);
  const uint16_t other = FreePort();
  for (int change = 0; change < changes; ++change) {
    // Added, led elsewhere, led back, removed.
    world_->file.ports = {{kept_, kServer}};
    if (change % 4 != 3) {
      world_->file.ports.push_back({other, static_cast<uint16_t>(change % 4 == 1 ? 9 : kServer)});
    }
    world_->Save();
    const bool there = change % 4 != 3;
    const bool answers = there && change % 4 != 1;
    EXPECT_TRUE(Eventually([&] {
      const int fd = Connect(other);
      if (fd >= 0) close(fd);
      return (fd >= 0) == there && Echoes(other) == answers;
    })) << "change "
        << change;
  }
  EXPECT_TRUE(swarm.Flows());
  EXPECT_EQ(swarm.lost(), 0);
  EXPECT_EQ(swarm.wrong(), 0);
  EXPECT_EQ(Find(kServer).forward().open_connections(), connections);
}

TEST_F(Forwards, AKilledAgentResetsItsConnectionsAndTheForwardComesBack) {
  for (int kill = 0; kill < Asked("RUM_TEST_KILLS", 3); ++kill) {
    Swarm swarm(kept_, 20);
    ASSERT_TRUE(swarm.Flows());
    // The command dies with its agent.
    world_->Rum({"exec", "--", "sh", "-c", "kill -9 $(pidof rum-agent)"});
    EXPECT_TRUE(Eventually([&] { return swarm.lost() == 20; })) << swarm.lost() << " of 20";
    EXPECT_EQ(swarm.wrong(), 0);
    EXPECT_TRUE(Eventually([] { return Echoes(kept_); }));
  }
}

// systemd gives a unit up that starts five times in ten seconds, unless it is told not to.
TEST_F(Forwards, AnAgentThatDiesAgainAndAgainComesBackEachTime) {
  for (int kill = 0; kill < 8; ++kill) {
    world_->Rum({"exec", "--", "sh", "-c", "kill -9 $(pidof rum-agent)"});
    ASSERT_EQ(world_->Rum({"exec", "true"}).exit_status, 0) << kill;
  }
}

TEST_F(Forwards, APortThatRumChoosesStays) {
  world_->file.more = "[[ports]]\nauto = true\nguest = 7000\nbind = \"127.0.0.2\"\n";
  world_->file.ports.clear();
  world_->Save();
  uint32_t chosen = 0;
  EXPECT_TRUE(Eventually([&] {
    const Item item = Find(kServer);
    chosen = item.forward().host();
    return item.forward().auto_() && item.state() == Item::HOLDS;
  }));
  EXPECT_GE(chosen, 20000u);
  world_->StopController();
  world_->Rum({"apply"});
  EXPECT_EQ(Find(kServer).forward().host(), chosen);
  world_->file.more.clear();
  world_->file.ports = {{kept_, kServer}};
  world_->Save();
}

TEST_F(Forwards, AStolenPortIsNamedAndHealsByItself) {
  const uint16_t stolen = FreePort();
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(stolen);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int thief = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(bind(thief, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(thief, 1), 0);
  world_->file.ports = {{kept_, kServer}, {stolen, 7001}};
  world_->Save();
  EXPECT_TRUE(Eventually([&] { return Find(7001).state() == Item::FAILING; }));
  EXPECT_NE(Find(7001).text().find("in use by"), std::string::npos) << Find(7001).text();
  EXPECT_TRUE(Echoes(kept_));
  close(thief);
  EXPECT_TRUE(Eventually([&] { return Find(7001).state() == Item::HOLDS; }));
  // Nothing listens at 7001 in the guest.
  EXPECT_TRUE(Eventually([&] { return Find(7001).forward().health() == ForwardFacts::DOWN; }));
}

}  // namespace
}  // namespace rum::e2e
