#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <thread>
#include <utility>

#include "controller/listeners/listener_set.h"
#include "tests/controller/listeners/sockets.h"
#include "tests/eventually.h"

namespace rum {
namespace {

using std::chrono::milliseconds;

// In a process of its own, for the limit and the CPU time are the process's.
TEST(ListenerSet, OutOfDescriptorsItSaysSoAndWaitsWithoutSpinningAndRecovers) {
  const uint16_t port = FreePort();
  std::atomic<int> changes = 0;
  GuestRoute route;
  route.dial = DialEchoPair;
  route.on_change = [&] { ++changes; };
  const auto set = MakeListenerSet(std::move(route));
  set->Apply({{"127.0.0.1", port, 80}});
  Fd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int next = dup(client.get());
  close(next);
  rlimit old{};
  getrlimit(RLIMIT_NOFILE, &old);
  rlimit none = old;
  none.rlim_cur = static_cast<rlim_t>(next);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  sockaddr_in at{};
  at.sin_family = AF_INET, at.sin_port = htons(port), at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  EXPECT_TRUE(Eventually([&] { return absl::IsResourceExhausted(set->Observe()[0].bound); }));
  EXPECT_TRUE(Eventually([&] { return changes == 1; }));
  const std::clock_t before = std::clock();
  std::this_thread::sleep_for(milliseconds(500));
  EXPECT_LT(std::clock() - before, CLOCKS_PER_SEC / 5) << "CPU time of half a second's waiting";
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
  EXPECT_EQ(ReadLine(client.get()), "80");
  EXPECT_TRUE(Eventually([&] { return set->Observe()[0].bound.ok(); }));
  EXPECT_EQ(changes, 2);
}

}  // namespace
}  // namespace rum
