#ifndef RUM_CONTROLLER_FLEET_METRICS_H_
#define RUM_CONTROLLER_FLEET_METRICS_H_

#include <prometheus/metric_family.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "controller/fleet/run_loop.h"

namespace rum {

// What is counted of all machines together at the moment of a scrape.
struct FleetTotals {
  int machines = 0;          // wanted up
  int drift_items = 0;       // not as the files say, and waiting, as of the last reconciles
  int restarts_awaited = 0;  // of those
  int64_t open_connections = 0;
  int64_t bytes_in = 0;  // towards guests
  int64_t bytes_out = 0;
};

// The controller's metrics; docs/commands.md names them. Thread-safe.
class Metrics {
 public:
  Metrics();
  ~Metrics();

  void Reconciled(const absl::Status& status, absl::Duration took, int actions);
  std::vector<prometheus::MetricFamily> Collect(const RunLoopStats& loop,
                                                const FleetTotals& totals);

 private:
  struct Parts;
  const std::unique_ptr<Parts> parts_;
};

// Prometheus' text format.
std::string MetricsText(const std::vector<prometheus::MetricFamily>& families);

}  // namespace rum

#endif  // RUM_CONTROLLER_FLEET_METRICS_H_
