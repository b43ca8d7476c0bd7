#include "agent-api/channel/port_watch.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <string>

#include "agent-api/channel/socket_io.h"

namespace rum {
namespace {

class PortWatchTest : public testing::Test {
 protected:
  PortWatchTest() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    EXPECT_TRUE(SocketPair(&port_, &peer_));
    watch_.Begin(epoll_, port_);
  }
  ~PortWatchTest() override {
    close(port_);
    close(peer_);
    close(epoll_);
  }

  // Whether there is an event by now.
  bool Event() {
    epoll_event event{};
    if (epoll_wait(epoll_, &event, 1, 0) != 1) return false;
    watch_.OnEvent();
    return true;
  }
  void Fill() {
    const std::string piece(4096, 'x');
    while (watch_.writable()) watch_.Write(piece.data(), piece.size());
    EXPECT_EQ(errno, EAGAIN);
  }
  void TakeAll() {
    char buffer[65536];
    while (read(peer_, buffer, sizeof buffer) > 0) {
    }
  }

  const int epoll_;
  int port_ = -1;
  int peer_ = -1;
  PortWatch watch_;
};

TEST_F(PortWatchTest, APieceThatIsTakenWakesNobodyWhoHasRoom) {
  EXPECT_EQ(watch_.Write("piece", 5), 5);
  TakeAll();
  EXPECT_FALSE(Event());
}

TEST_F(PortWatchTest, RoomWakesWhoHadNone) {
  Fill();
  EXPECT_FALSE(Event());
  TakeAll();
  EXPECT_TRUE(Event());
  EXPECT_TRUE(watch_.writable());
}

TEST_F(PortWatchTest, RoomThatCameBeforeItWasAskedForWakesAsWell) {
  const std::string piece(4096, 'x');
  while (write(port_, piece.data(), piece.size()) > 0) {
  }
  EXPECT_LT(watch_.Write("x", 1), 0);
  TakeAll();
  EXPECT_TRUE(Event());
}

TEST_F(PortWatchTest, AfterRoomHasComeItIsNoNewsAgain) {
  Fill();
  TakeAll();
  ASSERT_TRUE(Event());
  EXPECT_EQ(watch_.Write("piece", 5), 5);
  TakeAll();
  if (Event()) {  // once more, as nobody has been told that it is no news
    EXPECT_EQ(watch_.Write("piece", 5), 5);
    TakeAll();
  }
  EXPECT_FALSE(Event());
}

TEST_F(PortWatchTest, DataWakesWhoHasReadAll) {
  char buffer[16];
  EXPECT_LT(watch_.Read(buffer, sizeof buffer), 0);
  EXPECT_FALSE(watch_.readable());
  EXPECT_FALSE(Event());
  ASSERT_EQ(write(peer_, "data", 4), 4);
  EXPECT_TRUE(Event());
  EXPECT_EQ(watch_.Read(buffer, sizeof buffer), 4);
  EXPECT_TRUE(watch_.readable());
}

}  // namespace
}  // namespace rum
