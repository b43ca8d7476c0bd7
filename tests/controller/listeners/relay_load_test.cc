#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "controller/listeners/listener_set.h"
#include "tests/controller/listeners/sockets.h"
#include "tests/eventually.h"

namespace rum {
namespace {

// Bytes that no other connection and no other place of this one has.
std::string Pattern(uint64_t connection, uint64_t round, size_t size) {
  std::string bytes(size, '\0');
  uint64_t state = (connection << 32 | round) * 0x9e3779b97f4a7c15 + 1;
  for (char& byte : bytes) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    byte = static_cast<char>(state);
  }
  return bytes;
}

// Opens `count` connections, keeps them all open and checks what comes back, round by round.
void CheckPatterns(uint16_t port, int first, int count) {
  std::vector<Fd> fds;
  for (int i = 0; i < count; ++i) fds.push_back(Connect("127.0.0.1", port));
  for (const Fd& fd : fds) ASSERT_EQ(ReadLine(fd.get()), "80");
  for (int round = 0; round < 6; ++round) {
    for (int i = 0; i < count; ++i) {
      ASSERT_TRUE(WriteAll(fds[i].get(), Pattern(first + i, round, 12000)));
    }
    for (int i = 0; i < count; ++i) {
      ASSERT_EQ(ReadExactly(fds[i].get(), 12000), Pattern(first + i, round, 12000));
    }
  }
  for (const Fd& fd : fds) {
    shutdown(fd.get(), SHUT_WR);
    ASSERT_EQ(ReadLine(fd.get()), "bye");
    ASSERT_EQ(EndOf(fd.get()), 0);
  }
}

TEST(RelayLoad, FiveHundredConnectionsKeepEveryByteWhileOtherForwardsChange) {
  constexpr int kThreads = 10;
  constexpr int kEach = 50;
  // The io thread's own descriptors come with its first socket.
  MakeListenerSet(DialEchoPair)->Apply({{"127.0.0.1", FreePort(), 80}});
  const size_t before = OpenDescriptors();
  {
    EchoGuest guest;
    const auto set = MakeListenerSet(guest.dialer());
    const uint16_t kept = FreePort(), moved = FreePort(), other = FreePort();
    ASSERT_TRUE(set->Apply({{"127.0.0.1", kept, 80}})[0].bound.ok());
    std::vector<std::thread> threads;
    std::atomic<int> running = kThreads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        CheckPatterns(kept, t * kEach, kEach);
        --running;
      });
    }
    uint16_t changes = 0;
    int64_t most = 0;
    while (running > 0) {
      std::vector<Forward> wanted = {
          {"127.0.0.1", moved, static_cast<uint16_t>(1000 + changes % 100)},
          {"127.0.0.1", kept, 80}};
      if (++changes % 2 == 0) wanted.push_back({"127.0.0.1", other, 90});
      most = std::max(most, set->Apply(wanted)[1].open_connections);
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_GT(most, kEach);
    EXPECT_GT(changes, 10);
    ASSERT_TRUE(Eventually([&] { return set->Observe()[1].open_connections == 0; }));
    EXPECT_EQ(set->Observe()[1].bytes_in, 500 * 6 * 12000);
    EXPECT_EQ(set->Observe()[1].bytes_out, 500 * (3 + 6 * 12000 + 4));
  }
  EXPECT_TRUE(Eventually([&] { return OpenDescriptors() <= before; }))
      << before << " descriptors before, " << OpenDescriptors() << " after";
}

}  // namespace
}  // namespace rum
