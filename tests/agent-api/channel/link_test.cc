// Both ends. The port is held open by the test as QEMU holds it: what a client leaves in it stays
// for the next one.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "agent-api/channel/host_link.h"
#include "agent-api/channel/pump.h"
#include "tests/agent-api/channel/peer.h"

namespace rum {
namespace {

class Link : public testing::Test {
 protected:
  void SetUp() override {
    signal(SIGPIPE, SIG_IGN);
    const auto [port, channel] = NewPair();
    port_ = port;
    channel_ = channel;
  }
  void TearDown() override {
    close(port_);
    close(channel_);
  }

  int port_ = -1;
  int channel_ = -1;
};

void Echo(int socket) {
  for (std::string got; !(got = ReadSome(socket, 1)).empty();) WriteAll(socket, got);
}

// What the guest hears first. A HELLO that crossed the agent's RESET began a session that the HELLO
// after it has ended; nothing is heard of it.
std::string FirstHeard(Guest* guest, size_t size) {
  std::string heard;
  for (int served = guest->Take(); served >= 0 && heard.empty();) {
    heard = ReadSome(served, size);
    close(served);
    if (heard.empty()) served = guest->Take();
  }
  return heard;
}

TEST_F(Link, ARestartedAgentGetsASessionOfItsOwn) {
  Host host(dup(channel_));
  auto guest = std::make_unique<Guest>(port_);
  const int session = host.Take();
  guest->Stop();  // says nothing of it to the host
  guest = std::make_unique<Guest>(port_);
  EXPECT_TRUE(AtEnd(session));
  close(session);
  const int next = host.Take();
  WriteAll(next, "two");
  EXPECT_EQ(FirstHeard(guest.get(), 3), "two");
  close(next);
}

// A client under load that is killed at a random place, in a process of its own so that nothing of
// it can tidy up.
void ClientUnderLoad(int channel, int lives_us) {
  std::thread([channel] {
    SessionPace pace;
    ServeHostLink(
        channel, -1,
        [](int socket) {
          std::thread([socket] {
            fcntl(socket, F_SETFL, 0);
            for (;;) WriteAll(socket, std::string(kMark, kMarkSize) + "garbage of a killed client");
          }).detach();
        },
        [] {}, {}, &pace);
  }).detach();
  // Signals come at any time: how long it lives is the test's input.
  usleep(static_cast<useconds_t>(lives_us));
  kill(getpid(), SIGKILL);
}

TEST_F(Link, AKilledClientNeverPoisonsTheNext) {
  Guest guest(port_);
  std::thread server([&] {
    std::vector<std::thread> echoes;
    for (int served = guest.Take(); served >= 0; served = guest.Take()) {
      echoes.emplace_back([served] { Echo(served), close(served); });
    }
    for (std::thread& echo : echoes) echo.join();
  });
  std::minstd_rand random(7);
  for (int round = 0; round < 25; ++round) {
    const pid_t pid = fork();
    if (pid == 0) ClientUnderLoad(channel_, static_cast<int>(random() % 8000));
    waitpid(pid, nullptr, 0);
    Host host(dup(channel_));
    const int session = host.Take();
    ASSERT_GE(session, 0) << "round " << round;
    WriteAll(session, "hello");
    ASSERT_EQ(ReadSome(session, 5), "hello") << "round " << round;
    close(session);
  }
  guest.Stop();
  server.join();
}

}  // namespace
}  // namespace rum
