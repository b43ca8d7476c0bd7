#include "agent-api/forward/guest_end.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>

#include "agent-api/channel/frame.h"
#include "agent-api/channel/socket_io.h"
#include "tests/idle.h"

namespace rum {
namespace {

using std::chrono::milliseconds;

class LookingOut : public testing::Test {
 protected:
  static constexpr auto kLookout = milliseconds(5);

  LookingOut() {
    signal(SIGPIPE, SIG_IGN);
    EXPECT_TRUE(SocketPair(&host_, &port_));
    thread_ = std::thread([this] { why_ = GuestEnd(port_, kLookout).Serve(); });
  }
  ~LookingOut() override {
    close(host_);
    thread_.join();
    EXPECT_NE(why_, "");
  }

  // Asks for a session; whether it is given one.
  bool Answered() const {
    const std::string hello = EncodeControl(FrameKind::kHello, NewNonce());
    if (write(host_, hello.data(), hello.size()) < 0) return false;
    pollfd answer{host_, POLLIN, 0};
    if (poll(&answer, 1, 10'000) != 1) return false;
    char buffer[4096];
    return read(host_, buffer, sizeof buffer) > 0;
  }

  int host_ = -1;
  int port_ = -1;
  std::string why_;
  std::thread thread_;
};

TEST_F(LookingOut, IsForAWhileAndThenItSleepsUntilSomethingComes) {
  ASSERT_TRUE(Answered());
  EXPECT_TRUE(OtherThreads().FallIdle());
  EXPECT_TRUE(Answered());
}

TEST_F(LookingOut, WhoeverComesBeforeOrAfterItsEndIsAnswered) {
  for (int i = 0; i < 40; ++i) {
    ASSERT_TRUE(Answered()) << i;
    std::this_thread::sleep_for(std::chrono::microseconds(i * 500));  // another moment each time
  }
}

}  // namespace
}  // namespace rum
