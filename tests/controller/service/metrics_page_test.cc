#include "controller/service/metrics_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "controller/base/fd.h"
#include "controller/fleet/metrics.h"

namespace rum {
namespace {

// A port of 127.0.0.1 that was free a moment ago.
sockaddr_in FreeAddress() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  const Fd probe(socket(AF_INET, SOCK_STREAM, 0));
  EXPECT_EQ(bind(probe.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  getsockname(probe.get(), reinterpret_cast<sockaddr*>(&address), &size);
  return address;
}

std::string Get(const sockaddr_in& address) {
  const Fd client(socket(AF_INET, SOCK_STREAM, 0));
  if (connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return "refused";
  }
  const std::string request = "GET /metrics HTTP/1.0\r\n\r\n";
  EXPECT_EQ(write(client.get(), request.data(), request.size()), ssize_t(request.size()));
  std::string answer;
  char bytes[4096];
  for (ssize_t n; (n = read(client.get(), bytes, sizeof bytes)) > 0;) answer.append(bytes, n);
  return answer;
}

class MetricsPageTest : public testing::Test {
 protected:
  ~MetricsPageTest() override { unsetenv("RUM_METRICS_ADDRESS"); }
  void Ask(const std::string& address) { setenv("RUM_METRICS_ADDRESS", address.c_str(), 1); }
  auto Page() {
    return MetricsPage::FromEnvironment([this] {
      RunLoopStats loop;
      loop.workers = 7;
      loop.stuck = 3;
      FleetTotals totals;
      totals.restarts_awaited = 2;
      return metrics_.Collect(loop, totals);
    });
  }

  Metrics metrics_;
};

TEST_F(MetricsPageTest, ThereIsNoneUnlessSomebodyAsksForIt) {
  const auto page = Page();
  ASSERT_TRUE(page.ok());
  EXPECT_EQ(*page, nullptr);
}

TEST_F(MetricsPageTest, GivesAScraperWhatIsCountedNow) {
  const sockaddr_in address = FreeAddress();
  Ask("127.0.0.1:" + std::to_string(ntohs(address.sin_port)));
  const auto page = Page();
  ASSERT_TRUE(page.ok()) << page.status();
  metrics_.Reconciled(absl::OkStatus(), absl::Milliseconds(3), 2);
  metrics_.Reconciled(absl::UnavailableError("away"), absl::Seconds(2), 0);
  metrics_.Reconciled(absl::InvalidArgumentError("bad file"), absl::Milliseconds(1), 0);
  const std::string answer = Get(address);
  for (const char* line :
       {"200 OK", "rum_reconciles_total{result=\"ok\"} 1",
        "rum_reconciles_total{result=\"retry\"} 1", "rum_reconciles_total{result=\"failed\"} 1",
        "rum_actions_total 2", "rum_reconcile_seconds_bucket{le=\"0.005\"} 2",
        "rum_reconcile_seconds_count 3", "rum_workers{state=\"all\"} 7",
        "rum_workers{state=\"stuck\"} 3", "rum_restarts_awaited 2"}) {
    EXPECT_THAT(answer, testing::HasSubstr(line));
  }
}

TEST_F(MetricsPageTest, AnAddressThatCannotBeIsAnErrorThatNamesIt) {
  Ask("nonsense");
  EXPECT_THAT(std::string(Page().status().message()),
              testing::HasSubstr("RUM_METRICS_ADDRESS=nonsense"));
}

}  // namespace
}  // namespace rum
