#include "agent-api/forward/loopback.h"

#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

namespace rum {
namespace {

// A network in which the kernel can only choose one port for who connects.
class OnePort : public testing::Test {
 protected:
  static constexpr uint16_t kPort = 45679;

  static void SetUpTestSuite() {
    ASSERT_EQ(unshare(CLONE_NEWNET), 0) << strerror(errno);
    const int fd = socket(AF_INET, SOCK_DGRAM, 0);
    ifreq lo{};
    std::strcpy(lo.ifr_name, "lo");
    lo.ifr_flags = IFF_UP | IFF_RUNNING;
    ASSERT_EQ(ioctl(fd, SIOCSIFFLAGS, &lo), 0) << strerror(errno);
    close(fd);
    std::ofstream("/proc/sys/net/ipv4/ip_local_port_range") << kPort << " " << kPort;
  }

  // The outcome of all attempts: 0, or an errno.
  static int Connect() {
    LoopbackConnect attempt(kPort);
    for (int fd = attempt.Next(); fd >= 0; fd = attempt.Next()) {
      pollfd connected{fd, POLLOUT, 0};
      poll(&connected, 1, -1);
      const int error = LoopbackConnect::Outcome(fd);
      close(fd);
      if (error == 0) return 0;
      attempt.Failed(error);
    }
    return attempt.error();
  }
};

TEST_F(OnePort, AConnectThatMeetsItselfIsARefusal) {
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Connect(), ECONNREFUSED);
}

TEST_F(OnePort, TheServiceCanBindItsPortAtOnceAfterwards) {
  EXPECT_EQ(Connect(), ECONNREFUSED);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(kPort);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0) << strerror(errno);
  close(fd);
}

}  // namespace
}  // namespace rum
