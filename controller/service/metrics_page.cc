#include "controller/service/metrics_page.h"

#include <prometheus/collectable.h>
#include <prometheus/exposer.h>

#include <cstdlib>
#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"

namespace rum {
namespace {

class Collected : public prometheus::Collectable {
 public:
  explicit Collected(MetricsPage::Collect collect) : collect_(std::move(collect)) {}
  std::vector<prometheus::MetricFamily> Collect() const override { return collect_(); }

 private:
  const MetricsPage::Collect collect_;
};

}  // namespace

struct MetricsPage::Parts {
  Parts(const std::string& address, Collect collect)
      : collected(std::make_shared<Collected>(std::move(collect))), exposer(address, 1) {
    exposer.RegisterCollectable(collected);
  }
  const std::shared_ptr<Collected> collected;
  prometheus::Exposer exposer;
};

MetricsPage::MetricsPage(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
MetricsPage::~MetricsPage() = default;

absl::StatusOr<std::unique_ptr<MetricsPage>> MetricsPage::FromEnvironment(Collect collect) {
  const char* address = std::getenv("RUM_METRICS_ADDRESS");
  if (address == nullptr || *address == '\0') return nullptr;
  try {
    auto parts = std::make_unique<Parts>(address, std::move(collect));
    return std::unique_ptr<MetricsPage>(new MetricsPage(std::move(parts)));
  } catch (const std::exception& error) {
    return absl::UnavailableError(absl::StrCat("RUM_METRICS_ADDRESS=", address, ": ", error.what(),
                                               " (wanted: ADDRESS:PORT, of a port that is free)"));
  }
}

}  // namespace rum
