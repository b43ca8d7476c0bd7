#include "controller/service/service_notify.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "tests/eventually.h"

namespace rum {
namespace {

// What systemd is to a service: a datagram socket that is named in its environment.
class FakeService : public testing::Test {
 protected:
  FakeService() {
    std::string folder = "/tmp/rum-notify.XXXXXX";  // short: a socket's path
    folder_ = mkdtemp(folder.data());
    const std::string path = folder_ + "/notify";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    const timeval limit{20, 0};
    setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setenv("NOTIFY_SOCKET", path.c_str(), 1);
  }
  ~FakeService() override {
    for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) unsetenv(name);
    std::filesystem::remove_all(folder_);
  }

  // The next message; a descriptor that came with it goes into `fd`.
  std::string Hear(Fd* fd = nullptr) {
    char text[4096];
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(ucred))];
    iovec part{text, sizeof text};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    const ssize_t size = recvmsg(socket_.get(), &header, 0);
    if (size < 0) return "nothing";
    for (cmsghdr* one = CMSG_FIRSTHDR(&header); one != nullptr; one = CMSG_NXTHDR(&header, one)) {
      if (one->cmsg_type != SCM_RIGHTS) continue;
      int got = -1;
      std::memcpy(&got, CMSG_DATA(one), sizeof got);
      Fd owned(got);
      if (fd != nullptr) *fd = std::move(owned);
    }
    return {text, static_cast<size_t>(size)};
  }

  Fd socket_{socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  std::string folder_;
};

TEST(WithoutService, NothingIsToldAndNothingKept) {
  unsetenv("NOTIFY_SOCKET");
  EXPECT_FALSE(TellService("READY=1"));
  EXPECT_TRUE(SocketsOfService().empty());
  const Watchdog none([] { ADD_FAILURE() << "nobody asked"; });
}

TEST_F(FakeService, HearsWhatItIsTold) {
  EXPECT_TRUE(TellService("READY=1"));
  EXPECT_EQ(Hear(), "READY=1");
}

TEST_F(FakeService, KeepsSocketsForTheNextProcess) {
  std::vector<Fd> sockets;
  sockets.emplace_back(socket(AF_INET, SOCK_STREAM, 0));
  ASSERT_EQ(listen(sockets[0].get(), 1), 0);
  sockaddr_in bound{};
  socklen_t size = sizeof bound;
  getsockname(sockets[0].get(), reinterpret_cast<sockaddr*>(&bound), &size);
  StoreWithService(sockets);
  Fd kept;
  EXPECT_EQ(Hear(&kept), "FDSTORE=1\nFDNAME=rum-listening");
  ASSERT_TRUE(kept.ok());
  const pid_t next = fork();
  if (next == 0) {
    dup2(kept.get(), 3);
    setenv("LISTEN_PID", std::to_string(getpid()).c_str(), 1);
    setenv("LISTEN_FDS", "1", 1);
    const std::vector<Fd> got = SocketsOfService();
    sockaddr_in same{};
    const bool ok = got.size() == 1 && std::getenv("LISTEN_FDS") == nullptr &&
                    getsockname(got[0].get(), reinterpret_cast<sockaddr*>(&same), &size) == 0 &&
                    same.sin_port == bound.sin_port;
    _exit(ok ? 0 : 1);
  }
  int status = -1;
  waitpid(next, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST_F(FakeService, TheWatchdogHearsOnlyOfAProcessThatIsAlive) {
  setenv("WATCHDOG_USEC", "2000", 1);
  std::atomic<bool> hangs = false;
  std::atomic<int> hung = 0;  // times the pause between two words
  const Watchdog watchdog([&] {
    for (; hangs; ++hung) usleep(1000);
  });
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Hear(), "WATCHDOG=1");
  hangs = true;
  EXPECT_TRUE(Eventually([&] { return hung > 0; }, std::chrono::seconds(60)));
  char text[64];
  while (recv(socket_.get(), text, sizeof text, MSG_DONTWAIT) > 0) {
  }
  EXPECT_TRUE(Eventually([&] { return hung > 50; }, std::chrono::seconds(60)));
  EXPECT_LT(recv(socket_.get(), text, sizeof text, MSG_DONTWAIT), 0);
  hangs = false;
  EXPECT_EQ(Hear(), "WATCHDOG=1");
}

}  // namespace
}  // namespace rum
