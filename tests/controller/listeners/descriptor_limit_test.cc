#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "controller/listeners/listener_set.h"
#include "controller/listeners/listener_set_options.h"
#include "tests/controller/listeners/sockets.h"
#include "tests/eventually.h"
#include "tests/idle.h"

namespace rum {
namespace {

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// In a process of its own, for the limit is the process's.
class DescriptorLimit : public testing::Test {
 protected:
  DescriptorLimit() { getrlimit(RLIMIT_NOFILE, &before_); }
  ~DescriptorLimit() override { Restore(); }
  void Restore() { EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before_), 0); }
  static void Limit(size_t descriptors) {
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = descriptors;
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  }
  GuestRoute Route() {
    GuestRoute route;
    route.dial = DialEchoPair;
    route.on_change = [this] { ++changes_; };
    return route;
  }

  rlimit before_{};
  std::atomic<int> changes_ = 0;
};

TEST_F(DescriptorLimit, OutOfThemItRefusesWithAReasonAndDoesNotSpinAndRecovers) {
  const uint16_t port = FreePort();
  const auto set = MakeListenerSet(Route());
  set->Apply({{"127.0.0.1", port, 80}});
  Fd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const OtherThreads threads;
  const int next = dup(client.get());
  close(next);
  Limit(static_cast<size_t>(next));
  sockaddr_in at{};
  at.sin_family = AF_INET, at.sin_port = htons(port), at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  const timeval patience{60, 0};
  setsockopt(client.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  EXPECT_EQ(EndOf(client.get()), ECONNRESET);
  EXPECT_TRUE(Eventually([&] { return absl::IsResourceExhausted(set->Observe()[0].bound); }));
  EXPECT_TRUE(Contains(set->Observe()[0].last_error, "no more file descriptors"))
      << set->Observe()[0].last_error;
  EXPECT_TRUE(Eventually([&] { return changes_ == 1; }));
  EXPECT_TRUE(threads.FallIdle());
  Restore();
  EXPECT_EQ(ReadLine(Connect("127.0.0.1", port).get()), "80");
  EXPECT_TRUE(Eventually([&] { return set->Observe()[0].bound.ok(); }));
  EXPECT_EQ(changes_, 2);
}

TEST_F(DescriptorLimit, TheLastOnesAreLeftForOthers) {
  const uint16_t port = FreePort();
  ListenerSetOptions options;
  options.most_connections = 100'000;
  const auto set = MakeListenerSet(Route(), options);
  set->Apply({{"127.0.0.1", port, 80}});
  Limit(200);
  std::vector<Fd> clients;
  bool refused = false;
  while (!refused && clients.size() < 200) {
    clients.push_back(Connect("127.0.0.1", port));
    refused = ReadLine(clients.back().get()) != "80";
  }
  EXPECT_TRUE(refused);
  std::vector<Fd> left;
  while (left.empty() || left.back().ok()) left.emplace_back(dup(0));
  EXPECT_GT(left.size(), 40u) << "of 200";
  EXPECT_TRUE(Eventually([&] { return absl::IsResourceExhausted(set->Observe()[0].bound); }));
}

TEST_F(DescriptorLimit, TheConnectionsOfAMachineAreSoManyOverAllItsPorts) {
  const uint16_t one = FreePort();
  const uint16_t other = FreePort();
  ListenerSetOptions options;
  options.most_connections = 3;
  const auto set = MakeListenerSet(Route(), options);
  set->Apply({{"127.0.0.1", one, 80}, {"127.0.0.1", other, 81}});
  std::vector<Fd> clients;
  for (const uint16_t port : {one, one, other}) {
    clients.push_back(Connect("127.0.0.1", port));
    EXPECT_NE(ReadLine(clients.back().get()), "");
  }
  EXPECT_EQ(EndOf(Connect("127.0.0.1", other).get()), ECONNRESET);
  EXPECT_TRUE(Contains(set->Observe()[1].last_error, "3 connections of this machine are open"))
      << set->Observe()[1].last_error;
  clients.clear();
  EXPECT_TRUE(Eventually([&] { return ReadLine(Connect("127.0.0.1", other).get()) == "81"; }));
}

}  // namespace
}  // namespace rum
