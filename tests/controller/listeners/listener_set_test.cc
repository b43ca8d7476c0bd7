#include "controller/listeners/listener_set.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>

#include "controller/listeners/listener_set_options.h"
#include "controller/listeners/port_owner.h"

namespace rum {
namespace {

using std::chrono::milliseconds;

int Socket(const std::string& address, uint16_t port, bool listening) {
  const bool v6 = address.find(':') != std::string::npos;
  sockaddr_in6 in6{};
  sockaddr_in in4{};
  in6.sin6_family = AF_INET6, in6.sin6_port = htons(port);
  in4.sin_family = AF_INET, in4.sin_port = htons(port);
  inet_pton(AF_INET6, address.c_str(), &in6.sin6_addr);
  inet_pton(AF_INET, address.c_str(), &in4.sin_addr);
  const int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  timeval limit{10, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  auto* at = v6 ? reinterpret_cast<sockaddr*>(&in6) : reinterpret_cast<sockaddr*>(&in4);
  const socklen_t size = v6 ? sizeof in6 : sizeof in4;
  if ((listening ? bind(fd, at, size) : connect(fd, at, size)) == 0 &&
      (!listening || listen(fd, 16) == 0))
    return fd;
  close(fd);
  return -1;
}

uint16_t FreePort() {
  const int fd = Socket("127.0.0.1", 0, true);
  sockaddr_in at{};
  socklen_t size = sizeof at;
  getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size);
  close(fd);
  return ntohs(at.sin_port);
}

// Stands in for the guest: what is dialed says its port's number, then echoes until it has been
// told the end.
void DialEcho(uint16_t port, std::function<void(absl::StatusOr<int>)> done) {
  if (port == 1) return done(absl::FailedPreconditionError("refused in the guest"));
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  std::thread([fd = fds[0], port] {
    const std::string hello = std::to_string(port) + "\n";
    char buffer[4096];
    bool ok = write(fd, hello.data(), hello.size()) > 0;
    for (ssize_t n; ok && (n = read(fd, buffer, sizeof buffer)) > 0;) {
      ok = send(fd, buffer, static_cast<size_t>(n), MSG_NOSIGNAL) == n;
    }
    if (ok) send(fd, "bye\n", 4, MSG_NOSIGNAL);
    close(fd);
  }).detach();
  done(fds[1]);
}

std::string ReadLine(int fd) {
  std::string line;
  char byte = 0;
  while (read(fd, &byte, 1) == 1 && byte != '\n') line.push_back(byte);
  return line;
}

std::string Echo(int fd, const std::string& text) {
  const std::string line = text + "\n";
  if (send(fd, line.data(), line.size(), MSG_NOSIGNAL) < 0) return "";
  return ReadLine(fd);
}

TEST(ListenerSet, ForwardsBytesBothWaysAndKeepsHalfClose) {
  const auto set = MakeListenerSet(DialEcho);
  const uint16_t port = FreePort();
  ASSERT_TRUE(set->Apply({{"127.0.0.1", port, 80}})[0].bound.ok());
  const int fd = Socket("127.0.0.1", port, false);
  EXPECT_EQ(ReadLine(fd), "80");
  EXPECT_EQ(Echo(fd, "hello"), "hello");
  shutdown(fd, SHUT_WR);
  EXPECT_EQ(ReadLine(fd), "bye") << "the guest still had something to say";
  char byte = 0;
  EXPECT_EQ(read(fd, &byte, 1), 0);
  close(fd);
}

TEST(ListenerSet, LeavesConnectionsOfUnchangedAndRetargetedForwardsAlone) {
  const auto set = MakeListenerSet(DialEcho);
  const uint16_t kept = FreePort(), moved = FreePort(), other = FreePort();
  set->Apply({{"127.0.0.1", kept, 80}, {"127.0.0.1", moved, 81}});
  const int a = Socket("127.0.0.1", kept, false);
  const int b = Socket("127.0.0.1", moved, false);
  EXPECT_EQ(ReadLine(a), "80");
  EXPECT_EQ(ReadLine(b), "81");
  for (uint16_t i = 0; i < 50; ++i) {
    set->Apply({{"127.0.0.1", kept, 80},
                {"127.0.0.1", moved, static_cast<uint16_t>(100 + i)},
                {i % 2 == 0 ? "127.0.0.1" : "::1", other, 82}});
    EXPECT_EQ(Echo(a, "a" + std::to_string(i)), "a" + std::to_string(i));
    EXPECT_EQ(Echo(b, "b" + std::to_string(i)), "b" + std::to_string(i));
  }
  const int c = Socket("127.0.0.1", moved, false);
  EXPECT_EQ(ReadLine(c), "149") << "new connections go to the new port";
  close(a), close(b), close(c);
}

TEST(ListenerSet, ARemovedForwardRefusesNewConnectionsAndDrainsOldOnes) {
  const auto set =
      MakeListenerSet(DialEcho, {.drain = milliseconds(300), .patience = milliseconds(100)});
  const uint16_t port = FreePort();
  set->Apply({{"127.0.0.1", port, 80}});
  const int fd = Socket("127.0.0.1", port, false);
  EXPECT_EQ(ReadLine(fd), "80");
  EXPECT_TRUE(set->Apply({}).empty());
  EXPECT_EQ(Socket("127.0.0.1", port, false), -1);
  EXPECT_EQ(Echo(fd, "still"), "still");
  char byte = 0;
  EXPECT_EQ(read(fd, &byte, 1), -1) << "reset once the drain time is over";
  EXPECT_EQ(errno, ECONNRESET);
  close(fd);
}

TEST(ListenerSet, ARefusalInTheGuestIsAResetForTheClient) {
  const auto set = MakeListenerSet(DialEcho);
  const uint16_t port = FreePort();
  set->Apply({{"127.0.0.1", port, 1}});
  const int fd = Socket("127.0.0.1", port, false);
  char byte = 0;
  EXPECT_EQ(read(fd, &byte, 1), -1);
  EXPECT_EQ(errno, ECONNRESET);
  close(fd);
  EXPECT_EQ(set->Observe()[0].last_error, "refused in the guest");
}

TEST(ListenerSet, WaitsForAnAgentThatIsAwayAndGivesUpAfterItsPatience) {
  std::atomic<int> failures = 3;
  const auto set = MakeListenerSet(
      [&](uint16_t port, std::function<void(absl::StatusOr<int>)> done) {
        if (failures-- > 0) return done(absl::UnavailableError("away"));
        DialEcho(port, done);
      },
      {.drain = milliseconds(100), .patience = milliseconds(2000)});
  const uint16_t port = FreePort();
  set->Apply({{"127.0.0.1", port, 80}});
  const int fd = Socket("127.0.0.1", port, false);
  EXPECT_EQ(ReadLine(fd), "80");
  close(fd);
  failures = 1 << 20;
  const auto impatient =
      MakeListenerSet([](uint16_t, auto done) { done(absl::UnavailableError("away")); },
                      {.drain = milliseconds(100), .patience = milliseconds(100)});
  const uint16_t other = FreePort();
  impatient->Apply({{"127.0.0.1", other, 80}});
  const int lost = Socket("127.0.0.1", other, false);
  char byte = 0;
  EXPECT_EQ(read(lost, &byte, 1), -1);
  EXPECT_EQ(errno, ECONNRESET);
  close(lost);
}

TEST(ListenerSet, OneTakenPortNamesItsOwnerAndDoesNotStopTheOthers) {
  const uint16_t taken = FreePort(), fine = FreePort();
  const int holder = Socket("127.0.0.1", taken, true);
  const auto set = MakeListenerSet(DialEcho);
  auto states = set->Apply({{"127.0.0.1", taken, 80}, {"127.0.0.1", fine, 80}});
  EXPECT_TRUE(absl::IsUnavailable(states[0].bound));
  const std::string text(states[0].bound.message());
  EXPECT_NE(text.find("Address already in use"), std::string::npos) << text;
  EXPECT_NE(text.find("(pid " + std::to_string(getpid()) + ")"), std::string::npos) << text;
  EXPECT_TRUE(states[1].bound.ok());
  EXPECT_EQ(set->Observe().size(), 2u);
  close(holder);
  states = set->Apply({{"127.0.0.1", taken, 80}, {"127.0.0.1", fine, 80}});
  EXPECT_TRUE(states[0].bound.ok()) << states[0].bound;
}

TEST(ListenerSet, BindsMoveToAWildcardAndToIpv6) {
  const auto set = MakeListenerSet(DialEcho);
  const uint16_t port = FreePort();
  ASSERT_TRUE(set->Apply({{"127.0.0.1", port, 80}})[0].bound.ok());
  const auto wild = set->Apply({{"0.0.0.0", port, 80}});
  EXPECT_TRUE(wild[0].bound.ok()) << wild[0].bound;
  const auto v6 = set->Apply({{"::1", port, 80}});
  EXPECT_TRUE(v6[0].bound.ok()) << v6[0].bound;
  const int fd = Socket("::1", port, false);
  EXPECT_EQ(ReadLine(fd), "80");
  close(fd);
}

size_t OpenDescriptors() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
    ++count;
  return count;
}

TEST(ListenerSet, ManyConnectionsLeaveNoDescriptorBehind) {
  MakeListenerSet(DialEcho)->Apply({});  // the io thread's own descriptors
  const size_t before = OpenDescriptors();
  {
    const auto set = MakeListenerSet(DialEcho);
    const uint16_t port = FreePort();
    set->Apply({{"127.0.0.1", port, 80}});
    std::vector<int> fds;
    for (int i = 0; i < 200; ++i) fds.push_back(Socket("127.0.0.1", port, false));
    for (const int fd : fds) EXPECT_EQ(ReadLine(fd), "80");
    for (size_t i = 0; i < fds.size(); ++i)
      EXPECT_EQ(Echo(fds[i], std::to_string(i)), std::to_string(i));
    EXPECT_EQ(set->Observe()[0].open_connections, 200);
    for (const int fd : fds) close(fd);
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (OpenDescriptors() > before && std::chrono::steady_clock::now() < deadline)
    std::this_thread::yield();
  EXPECT_LE(OpenDescriptors(), before);
}

TEST(PortOwner, ReadsTheKernelsTable) {
  const std::string table =
      "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "
      "inode\n"
      "   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000   113        0 "
      "20721 1\n"
      "   1: 0100007F:1538 0100007F:9000 01 00000000:00000000 00:00000000 00000000   113        0 "
      "20722 1\n";
  EXPECT_EQ(ListeningInodes(table, 5432), std::set<std::string>{"20721"});
  EXPECT_TRUE(ListeningInodes(table, 5433).empty());
}

}  // namespace
}  // namespace rum
