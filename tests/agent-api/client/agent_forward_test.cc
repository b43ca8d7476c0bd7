// Dial: bytes to this host's loopback, which is the guest's.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "agent-api/client/guest_agent.h"
#include "tests/agent-api/client/agent_process.h"
#include "tests/agent-api/guest/folder.h"
#include "tests/agent-api/guest/private_etc.h"
#include "tests/controller/guests/by_process.h"

namespace rum {
namespace {

constexpr timeval kLimit{20, 0};

// A server on a loopback address, one connection at a time.
class Server {
 public:
  explicit Server(int family) : listener_(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_storage address{};
    address.ss_family = static_cast<sa_family_t>(family);
    socklen_t size = sizeof(sockaddr_in6);
    auto* v4 = reinterpret_cast<sockaddr_in*>(&address);
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&address);
    if (family == AF_INET) v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK), size = sizeof *v4;
    if (family == AF_INET6) v6->sin6_addr = in6addr_loopback;
    auto* any = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(bind(listener_, any, size), 0);
    EXPECT_EQ(listen(listener_, 8), 0);
    setsockopt(listener_, SOL_SOCKET, SO_RCVTIMEO, &kLimit, sizeof kLimit);
    getsockname(listener_, any, &size);
    port_ = ntohs(family == AF_INET ? v4->sin_port : v6->sin6_port);
  }
  ~Server() { close(listener_); }
  uint16_t port() const { return port_; }
  int Accept() {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kLimit, sizeof kLimit);
    return fd;
  }

 private:
  const int listener_;
  uint16_t port_ = 0;
};

class AgentForward : public testing::Test {
 protected:
  static void SetUpTestSuite() { EnterPrivateEtc(); }
  void SetUp() override { ASSERT_TRUE(agent_->WaitConnected(absl::Seconds(20)).ok()); }
  absl::StatusOr<int> Dial(uint16_t port) {
    std::promise<absl::StatusOr<int>> promise;
    agent_->Dial(port, [&](absl::StatusOr<int> socket) { promise.set_value(socket); });
    const absl::StatusOr<int> socket = promise.get_future().get();
    if (socket.ok()) {
      fcntl(*socket, F_SETFL, fcntl(*socket, F_GETFL) & ~O_NONBLOCK);
      setsockopt(*socket, SOL_SOCKET, SO_RCVTIMEO, &kLimit, sizeof kLimit);
    }
    return socket;
  }
  // Both ends of a connection: the host's and the server's.
  std::pair<int, int> Connection() {
    const absl::StatusOr<int> host = Dial(server_.port());
    EXPECT_TRUE(host.ok()) << host.status();
    return {host.ok() ? *host : -1, server_.Accept()};
  }
  static void Close(std::pair<int, int> ends) { close(ends.first), close(ends.second); }

  Server server_{AF_INET};
  const Folder folder_;
  AgentProcess process_{folder_ / "state"};
  std::unique_ptr<GuestAgent> agent_ = ConnectByProcess(process_.opener(), nullptr);
};

bool WriteAll(int fd, const std::string& data) {
  for (size_t at = 0; at < data.size();) {
    const ssize_t n = send(fd, data.data() + at, data.size() - at, MSG_NOSIGNAL);
    if (n <= 0) return false;
    at += static_cast<size_t>(n);
  }
  return true;
}

std::string Read(int fd, size_t size) {
  std::string data(size, '\0');
  size_t at = 0;
  while (at < size) {
    const ssize_t n = read(fd, data.data() + at, size - at);
    if (n <= 0) break;
    at += static_cast<size_t>(n);
  }
  data.resize(at);
  return data;
}

// What a read says where there is no more: 0 the end, else an errno.
int EndOf(int fd) {
  char byte = 0;
  const ssize_t n = read(fd, &byte, 1);
  return n > 0 ? -1 : n == 0 ? 0 : errno;
}

void ResetAndClose(int fd) {
  const linger reset{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  close(fd);
}

TEST_F(AgentForward, AHalfCloseLeavesTheOtherDirectionOpen) {
  const auto ends = Connection();
  EXPECT_TRUE(WriteAll(ends.first, "question"));
  shutdown(ends.first, SHUT_WR);
  EXPECT_EQ(Read(ends.second, 100), "question");
  const std::string answer(3 << 20, 'a');
  std::thread writer([&] {
    EXPECT_TRUE(WriteAll(ends.second, answer));
    close(ends.second);
  });
  EXPECT_TRUE(Read(ends.first, answer.size()) == answer);
  EXPECT_EQ(EndOf(ends.first), 0);
  writer.join();
  close(ends.first);
}

TEST_F(AgentForward, AHalfCloseOfTheServerLeavesTheOtherDirectionOpen) {
  const auto ends = Connection();
  EXPECT_TRUE(WriteAll(ends.second, "greeting"));
  shutdown(ends.second, SHUT_WR);
  EXPECT_EQ(Read(ends.first, 100), "greeting");
  const std::string upload(3 << 20, 'u');
  std::thread writer([&] {
    EXPECT_TRUE(WriteAll(ends.first, upload));
    shutdown(ends.first, SHUT_WR);
  });
  EXPECT_TRUE(Read(ends.second, upload.size()) == upload);
  EXPECT_EQ(EndOf(ends.second), 0);
  writer.join();
  Close(ends);
}

TEST_F(AgentForward, SixIsTriedAfterFour) {
  Server server(AF_INET6);
  const absl::StatusOr<int> host = Dial(server.port());
  ASSERT_TRUE(host.ok()) << host.status();
  const int served = server.Accept();
  EXPECT_TRUE(WriteAll(*host, "six"));
  EXPECT_EQ(Read(served, 3), "six");
  Close({*host, served});
}

TEST_F(AgentForward, APortWithoutAServerIsRefused) {
  uint16_t port = 0;
  {
    const Server gone(AF_INET);
    port = gone.port();
  }
  const absl::Status refused = Dial(port).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(refused.message().find("refused"), absl::string_view::npos) << refused;
  EXPECT_EQ(Dial(0).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(AgentForward, ClosingBothWaysBeforeTheEndResetsTheServer) {
  const auto ends = Connection();
  EXPECT_TRUE(WriteAll(ends.first, "half"));
  EXPECT_EQ(Read(ends.second, 4), "half");
  close(ends.first);
  EXPECT_EQ(EndOf(ends.second), ECONNRESET);
  close(ends.second);
}

TEST_F(AgentForward, AResetOfTheServerClosesBothWays) {
  const auto ends = Connection();
  EXPECT_TRUE(WriteAll(ends.second, "half"));
  EXPECT_EQ(Read(ends.first, 4), "half");
  ResetAndClose(ends.second);
  EXPECT_EQ(EndOf(ends.first), 0);
  EXPECT_FALSE(WriteAll(ends.first, "more"));
  close(ends.first);
}

// The server's reset meets the agent while it sends: it must not become a clean end.
TEST_F(AgentForward, AResetUnderLoadIsNeverACleanEnd) {
  for (int i = 0; i < 30; ++i) {
    const auto ends = Connection();
    std::thread writer([&] {
      while (WriteAll(ends.first, std::string(50000, 'x'))) {
      }
    });
    EXPECT_EQ(Read(ends.second, 200000).size(), 200000u);
    ResetAndClose(ends.second);
    writer.join();  // a half-closed connection would take bytes for ever
    close(ends.first);
  }
}

TEST_F(AgentForward, AKilledAgentClosesBothWays) {
  const auto ends = Connection();
  EXPECT_TRUE(WriteAll(ends.first, "x"));
  EXPECT_EQ(Read(ends.second, 1), "x");
  process_.Kill();
  process_.Start();
  EXPECT_EQ(EndOf(ends.first), 0);
  EXPECT_FALSE(WriteAll(ends.first, "more"));
  Close(ends);
}

TEST_F(AgentForward, AClientsEndClosesItsConnectionsAlsoThoseNobodyReads) {
  const auto quiet = Connection();
  const auto full = Connection();
  std::thread writer([&] {
    while (WriteAll(full.second, std::string(50000, 'x'))) {
    }
  });
  EXPECT_EQ(Read(full.first, 100000).size(), 100000u);
  agent_.reset();
  EXPECT_EQ(EndOf(quiet.first), 0);
  EXPECT_EQ(EndOf(quiet.second), ECONNRESET);
  writer.join();
  Close(quiet);
  Close(full);
}

TEST_F(AgentForward, ManyAtOnce) {
  std::vector<std::thread> threads;
  std::vector<std::pair<int, int>> all;
  for (int i = 0; i < 50; ++i) all.push_back(Connection());
  for (int i = 0; i < 50; ++i) {
    threads.emplace_back([&, i] {
      const std::string own(100000, static_cast<char>(i));
      WriteAll(all[i].first, own);
      EXPECT_TRUE(Read(all[i].second, own.size()) == own);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& ends : all) Close(ends);
}

}  // namespace
}  // namespace rum
