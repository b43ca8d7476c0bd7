// A controller that has no descriptors left, or hardly any.
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>

#include "agent-api/descriptors.h"
#include "controller/service/call_status.h"
#include "tests/controller/service/service_world.h"
#include "tests/idle.h"

namespace rum {
namespace {

using testing::HasSubstr;

// While one lives, `left` descriptors may be opened and no more.
class FewDescriptors {
 public:
  explicit FewDescriptors(rlim_t left) {
    getrlimit(RLIMIT_NOFILE, &before_);
    const int next = dup(0);
    close(next);
    rlimit few = before_;
    few.rlim_cur = static_cast<rlim_t>(next) + left;
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  }
  ~FewDescriptors() { EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before_), 0); }

 private:
  rlimit before_{};
};

class DescriptorLimitTest : public ServiceTest {
 protected:
  DescriptorLimitTest() { EXPECT_TRUE(Apply(UpRequest()).status.ok()); }
  grpc::Status Status() {
    grpc::ClientContext context;
    MachineStatus status;
    return client_->Status(&context, ThisMachine(), &status);
  }
  // Not connected yet.
  static int NewSocket() { return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0); }
  bool Connect(int fd) const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socket_.copy(address.sun_path, sizeof address.sun_path - 1);
    return connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  // gRPC's first word to whoever connects.
  static bool SpokenTo(int fd) {
    const timeval limit{60, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    char byte = 0;
    return read(fd, &byte, 1) == 1;
  }
};

TEST_F(DescriptorLimitTest, WithFewLeftQuestionsAreAnsweredAndWorkIsRefusedWithAReason) {
  {
    const FewDescriptors few(2);
    EXPECT_TRUE(Status().ok());
    const Heard heard = Apply(UpRequest());
    EXPECT_EQ(heard.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_THAT(WhyItFailed(heard.status), HasSubstr("no file descriptors left"));
    EXPECT_THAT(WhyItFailed(heard.status), HasSubstr("ulimit -n"));
    EXPECT_TRUE(Status().ok());
  }
  EXPECT_TRUE(Apply(UpRequest()).status.ok());
}

TEST_F(DescriptorLimitTest, WithNoneLeftWhoeverAsksIsLetInAndTheEndIsHeard) {
  const int first = NewSocket();
  {
    const FewDescriptors none(0);
    EXPECT_TRUE(Connect(first));
    EXPECT_TRUE(SpokenTo(first));
    grpc::ClientContext context;
    control::StopReply reply;
    EXPECT_TRUE(client_->Stop(&context, control::StopRequest(), &reply).ok());
    EXPECT_EQ(stops_, 1);
  }
  close(first);
}

TEST_F(DescriptorLimitTest, WhoeverIsTooManyWaitsWithoutASpinAndIsServedThen) {
  std::vector<int> clients;
  for (int i = 0; i < 12; ++i) clients.push_back(NewSocket());
  const OtherThreads threads;
  {
    const FewDescriptors none(0);
    for (const int client : clients) EXPECT_TRUE(Connect(client));
    EXPECT_TRUE(SpokenTo(clients.front()));
    EXPECT_TRUE(threads.FallIdle());
  }
  for (const int client : clients) {
    EXPECT_TRUE(SpokenTo(client));
    close(client);
  }
}

TEST(Descriptors, SparesLetOneInWhereNoneIsLeft) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  const int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = "rum-spare-" + std::to_string(getpid());
  name.copy(address.sun_path + 1, sizeof address.sun_path - 2);
  ASSERT_EQ(bind(listening, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(listening, 8), 0);
  const int client = socket(AF_UNIX, SOCK_STREAM, 0);
  SpareDescriptors spares(2);
  const FewDescriptors none(0);
  ASSERT_EQ(connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(accept(listening, nullptr, nullptr), -1);
  EXPECT_TRUE(IsOutOfDescriptors(errno));
  const int accepted = spares.Accept(listening);
  EXPECT_GE(accepted, 0);
  EXPECT_TRUE(IsAmongLast(accepted, 8));
  EXPECT_FALSE(IsAmongLast(0, 1));
  close(accepted);
  spares.Refill();
  EXPECT_EQ(dup(0), -1) << "they are spares again";
  for (const int fd : {pair[0], pair[1], listening, client}) close(fd);
}

}  // namespace
}  // namespace rum
