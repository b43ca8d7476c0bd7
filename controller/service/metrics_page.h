#ifndef RUM_CONTROLLER_SERVICE_METRICS_PAGE_H_
#define RUM_CONTROLLER_SERVICE_METRICS_PAGE_H_

#include <prometheus/metric_family.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace rum {

// The metrics over HTTP, for scrapers, which speak TCP alone: at $RUM_METRICS_ADDRESS
// ("127.0.0.1:9464"), under /metrics. Without that variable there is none. Whoever reaches the
// address may read it.
class MetricsPage {
 public:
  using Collect = std::function<std::vector<prometheus::MetricFamily>()>;
  // Null: there is to be none.
  static absl::StatusOr<std::unique_ptr<MetricsPage>> FromEnvironment(Collect collect);
  ~MetricsPage();

 private:
  struct Parts;
  explicit MetricsPage(std::unique_ptr<Parts> parts);
  const std::unique_ptr<Parts> parts_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_SERVICE_METRICS_PAGE_H_
