// A controller that is replaced by restart while somebody connects to a forwarded port.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <thread>

#include "state/identity.h"
#include "tests/cli/sandbox.h"

namespace rum {
namespace {

using namespace std::chrono_literals;  // NOLINT: units

class RestartTest : public testing::Test {
 protected:
  RestartTest() {
    const int probe = socket(AF_INET, SOCK_STREAM, 0);
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address_;
    EXPECT_EQ(bind(probe, reinterpret_cast<sockaddr*>(&address_), size), 0);
    getsockname(probe, reinterpret_cast<sockaddr*>(&address_), &size);
    close(probe);
  }

  // A machine that runs, without an agent, in a libvirt in memory that has it from its first moment
  // on, whichever controller it is in. Its metadata says in which libvirt it is, as rum's own do.
  Running Up() {
    const std::string file = rum_.Write("dev.rum.toml", "");
    const std::string path = rum_.project() + "/node.xml";
    const MachineIdentity machine = *IdentityOf(file);
    const std::string node = rum_.Write(
        "node.xml", "<node><domain type='test'><name>" + machine.domain_name() +
                        "</name><metadata><rum:machine "
                        "xmlns:rum='https://rum.dev/xmlns/domain/1' id='" +
                        machine.id +
                        "'><rum:config>{\"image\": {\"base\": \"/images/debian.qcow2\"}, "
                        "\"advanced\": {\"libvirtUri\": \"test://" +
                        path +
                        "\"}}</rum:config></rum:machine></metadata><memory>524288</memory>"
                        "<vcpu>1</vcpu><os><type>hvm</type></os></domain></node>");
    rum_.Write("dev.rum.toml",
               "[image]\nbase = \"/images/debian.qcow2\"\n[resources]\ncpus = 1\nmemory_mb = 512\n"
               "[[ports]]\nhost = " +
                   std::to_string(ntohs(address_.sin_port)) +
                   "\nguest = 80\n[advanced]\nlibvirt_uri = \"test://" + node + "\"\n");
    return rum_.Start({"-c", "dev.rum.toml", "up", "-d"});
  }

  // 0 or an errno.
  int Connect() {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int failed =
        connect(fd, reinterpret_cast<sockaddr*>(&address_), sizeof address_) == 0 ? 0 : errno;
    close(fd);
    return failed;
  }

  Sandbox rum_;
  sockaddr_in address_{};
};

TEST_F(RestartTest, RefusesNobodyWhoConnectsMeanwhile) {
  const char* text = std::getenv("RUM_TEST_RESTARTS");
  const int restarts = text != nullptr ? std::atoi(text) : 100;
  const Running up = Up();
  while (Connect() != 0) ASSERT_FALSE(IsGone(up.pid, 10ms));
  std::atomic<bool> ended = false;
  std::atomic<int> tried = 0, refused = 0;
  std::thread client([&] {
    for (; !ended; ++tried) {
      if (const int failed = Connect(); failed != 0) {
        ++refused;
        ADD_FAILURE() << "connection " << tried << ": " << std::strerror(failed);
      }
      usleep(1000);
    }
  });
  pid_t before = rum_.ControllerPid();
  for (int i = 0; i < restarts; ++i) {
    const Result restarted = rum_.Rum({"controller", "restart"});
    EXPECT_EQ(restarted.exit_status, 0) << restarted.err;
    const pid_t now = rum_.ControllerPid();
    EXPECT_NE(now, 0);
    EXPECT_NE(now, before);
    before = now;
  }
  ended = true;
  client.join();
  EXPECT_EQ(refused, 0);
  EXPECT_GT(tried, restarts);
  EXPECT_EQ(rum_.Controllers().size(), 1u);
  rum_.Finish(up);
  // What ends for good refuses.
  EXPECT_EQ(rum_.Rum({"controller", "stop"}).exit_status, 0);
  EXPECT_EQ(Connect(), ECONNREFUSED);
}

TEST_F(RestartTest, ClosesThePortThatTheFileHasNoMore) {
  const Running up = Up();
  while (Connect() != 0) ASSERT_FALSE(IsGone(up.pid, 10ms));
  rum_.Finish(rum_.Start({"controller", "restart"}));
  rum_.Finish(up);
  EXPECT_EQ(Connect(), 0);
  rum_.Write("dev.rum.toml",
             "[image]\nbase = \"/images/debian.qcow2\"\n[resources]\ncpus = 1\n"
             "memory_mb = 512\n[advanced]\nlibvirt_uri = \"test://" +
                 rum_.project() + "/node.xml\"\n");
  EXPECT_EQ(rum_.Rum({"controller", "restart"}).exit_status, 0);
  for (int i = 0; i < 2000 && Connect() == 0; ++i) usleep(10000);
  EXPECT_EQ(Connect(), ECONNREFUSED);
}

TEST_F(RestartTest, StartsOneWhereNoneRuns) {
  EXPECT_EQ(rum_.Rum({"controller", "restart"}).exit_status, 0);
  EXPECT_NE(rum_.ControllerPid(), 0);
}

TEST_F(RestartTest, PrintsMetricsAndAUnit) {
  EXPECT_EQ(rum_.Rum({"controller", "metrics"}).exit_status, 1) << "asking starts none";
  EXPECT_EQ(rum_.Rum({"controller", "restart"}).exit_status, 0);
  const Result metrics = rum_.Rum({"controller", "metrics"});
  for (const char* name :
       {"rum_reconciles_total{result=\"ok\"} 0", "rum_reconcile_seconds_bucket{le=\"0.001\"} 0",
        "rum_queue_depth 0", "rum_workers{state=\"all\"} 4", "rum_workers{state=\"stuck\"} 0",
        "rum_drift_items 0", "rum_restarts_awaited 0",
        "rum_forwarded_bytes{direction=\"to_guest\"} 0"}) {
    EXPECT_THAT(metrics.out, testing::HasSubstr(name));
  }
  const Result unit = rum_.Rum({"controller", "unit"});
  EXPECT_EQ(unit.exit_status, 0);
  EXPECT_THAT(unit.out, testing::ContainsRegex("ExecStart=\"/.*rum\" controller run --replace\n"));
}

}  // namespace
}  // namespace rum
