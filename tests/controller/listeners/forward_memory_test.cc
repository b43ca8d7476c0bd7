// What an open connection costs the host, beyond what TCP itself holds, by this process's own
// memory. The guest's end is in it too, but holds nothing for clients that do not read.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent-api/forward/mux.h"
#include "controller/listeners/forward_path.h"
#include "controller/listeners/listener_set.h"
#include "tests/controller/listeners/guest_thread.h"
#include "tests/controller/listeners/sockets.h"
#include "tests/eventually.h"

namespace rum {
namespace {

constexpr int kConnections = 300;
constexpr int64_t kMost = 64 * 1024;

int64_t ResidentBytes() {
  int64_t all = 0;
  int64_t resident = 0;
  std::ifstream("/proc/self/statm") >> all >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

class ForwardMemory : public testing::Test {
 protected:
  void SetUp() override {
    signal(SIGPIPE, SIG_IGN);
    ASSERT_TRUE(set_->Apply({{"127.0.0.1", port_, LocalPort(server_)}})[0].bound.ok());
  }
  // Both ends of `count` connections: clients first.
  void Open(int count) {
    for (int i = 0; i < count; ++i) {
      clients_.push_back(Connect("127.0.0.1", port_));
      served_.emplace_back(accept4(server_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    }
  }
  // The servers say as much as anybody takes; true once nothing has moved for a while.
  bool FloodUntilAllStands() {
    const std::string flood(64 * 1024, 'x');
    int64_t before = -1;
    return Eventually([&] {
      for (int again = 0; again < 20; ++again) {
        for (const Fd& fd : served_) send(fd.get(), flood.data(), flood.size(), MSG_NOSIGNAL);
        usleep(10000);
      }
      const int64_t now = set_->Observe()[0].bytes_out;
      return std::exchange(before, now) == now;
    });
  }

  const Fd server_ = Listen("127.0.0.1", 0);
  const uint16_t port_ = FreePort();
  GuestThread guest_;
  const std::unique_ptr<ForwardPath> path_ =
      std::make_unique<ForwardPath>([this] { return guest_.OpenChannel(); });
  const std::unique_ptr<ListenerSet> set_ =
      MakeListenerSet(GuestRoute{[](uint16_t, std::function<void(absl::StatusOr<int>)> done) {
                                   done(absl::UnavailableError("no agent"));
                                 },
                                 [this] { return path_->carrier(); }, nullptr});
  std::vector<Fd> clients_;
  std::vector<Fd> served_;
};

TEST_F(ForwardMemory, AReaderThatStandsStillCostsTheHostLessThan64KiB) {
  Open(1);
  ASSERT_TRUE(FloodUntilAllStands());
  const int64_t before = ResidentBytes();
  Open(kConnections);
  ASSERT_TRUE(FloodUntilAllStands());
  const int64_t growth = ResidentBytes() - before;
  RecordProperty("bytes_for_each", static_cast<int>(growth / kConnections));
  // The windows of those that read at first may have grown, out of what is there for all together.
  EXPECT_LT(growth, kConnections * kMost + static_cast<int64_t>(Mux::kSpareWindow));
  EXPECT_GT(growth, 0);
}

}  // namespace
}  // namespace rum
