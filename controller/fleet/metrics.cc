#include "controller/fleet/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <mutex>

#include "controller/base/may_retry.h"

namespace rum {
namespace {

using prometheus::BuildCounter;
using prometheus::BuildGauge;
using prometheus::BuildHistogram;
using prometheus::Counter;
using prometheus::Gauge;
using prometheus::Labels;
using prometheus::Registry;

Gauge& AddGauge(Registry* registry, const char* name, const char* help, const Labels& labels = {}) {
  return BuildGauge().Name(name).Help(help).Register(*registry).Add(labels);
}

Counter& AddCounter(Registry* registry, const char* name, const char* help,
                    const Labels& labels = {}) {
  return BuildCounter().Name(name).Help(help).Register(*registry).Add(labels);
}

// A family of the same name is registered once and gets another member.
constexpr char kReconciles[] = "rum_reconciles_total";
constexpr char kReconcilesHelp[] = "Reconciles by the background loop, by how they ended.";
constexpr char kBytes[] = "rum_forwarded_bytes";
constexpr char kBytesHelp[] = "Bytes carried by the forwards that are open now.";
constexpr char kWorkers[] = "rum_workers";
constexpr char kWorkersHelp[] = "Threads of the background loop; stuck ones are busy ones too.";

}  // namespace

struct Metrics::Parts {
  std::shared_ptr<Registry> registry = std::make_shared<Registry>();
  Counter& ok = AddCounter(registry.get(), kReconciles, kReconcilesHelp, {{"result", "ok"}});
  Counter& retry = AddCounter(registry.get(), kReconciles, kReconcilesHelp, {{"result", "retry"}});
  Counter& failed =
      AddCounter(registry.get(), kReconciles, kReconcilesHelp, {{"result", "failed"}});
  Counter& actions = AddCounter(registry.get(), "rum_actions_total",
                                "Actions that reconciles by the background loop took.");
  prometheus::Histogram& seconds =
      BuildHistogram()
          .Name("rum_reconcile_seconds")
          .Help("How long reconciles by the background loop took.")
          .Register(*registry)
          .Add({}, prometheus::Histogram::BucketBoundaries{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                                           0.1, 0.25, 1, 5, 30});
  Gauge& machines = AddGauge(registry.get(), "rum_machines", "Machines that are wanted up.");
  Gauge& queue =
      AddGauge(registry.get(), "rum_queue_depth", "Machines that are due and wait for a worker.");
  Gauge& retrying = AddGauge(registry.get(), "rum_machines_retrying",
                             "Machines whose last reconcile failed and is tried again.");
  Gauge& workers = AddGauge(registry.get(), kWorkers, kWorkersHelp, {{"state", "all"}});
  Gauge& busy = AddGauge(registry.get(), kWorkers, kWorkersHelp, {{"state", "busy"}});
  Gauge& stuck = AddGauge(registry.get(), kWorkers, kWorkersHelp, {{"state", "stuck"}});
  Gauge& longest = AddGauge(registry.get(), "rum_longest_run_seconds",
                            "How long the oldest reconcile that goes on has taken so far.");
  Gauge& drift =
      AddGauge(registry.get(), "rum_drift_items",
               "Items that are not as the files say and wait, as of the last reconciles.");
  Gauge& restarts = AddGauge(registry.get(), "rum_restarts_awaited",
                             "Items that wait for a restart of their machine.");
  Gauge& connections =
      AddGauge(registry.get(), "rum_forward_connections", "Connections through forwards.");
  Gauge& bytes_in = AddGauge(registry.get(), kBytes, kBytesHelp, {{"direction", "to_guest"}});
  Gauge& bytes_out = AddGauge(registry.get(), kBytes, kBytesHelp, {{"direction", "from_guest"}});
  std::mutex scrape;  // one at a time: its gauges belong together
};

Metrics::Metrics() : parts_(std::make_unique<Parts>()) {}
Metrics::~Metrics() = default;

void Metrics::Reconciled(const absl::Status& status, absl::Duration took, int actions) {
  (status.ok() ? parts_->ok : MayRetry(status) ? parts_->retry : parts_->failed).Increment();
  parts_->actions.Increment(actions);
  parts_->seconds.Observe(absl::ToDoubleSeconds(took));
}

std::vector<prometheus::MetricFamily> Metrics::Collect(const RunLoopStats& loop,
                                                       const FleetTotals& totals) {
  const std::lock_guard<std::mutex> lock(parts_->scrape);
  parts_->machines.Set(totals.machines);
  parts_->queue.Set(loop.queued);
  parts_->retrying.Set(loop.retrying);
  parts_->workers.Set(loop.workers);
  parts_->busy.Set(loop.busy);
  parts_->stuck.Set(loop.stuck);
  parts_->longest.Set(absl::ToDoubleSeconds(loop.longest_run));
  parts_->drift.Set(totals.drift_items);
  parts_->restarts.Set(totals.restarts_awaited);
  parts_->connections.Set(static_cast<double>(totals.open_connections));
  parts_->bytes_in.Set(static_cast<double>(totals.bytes_in));
  parts_->bytes_out.Set(static_cast<double>(totals.bytes_out));
  return parts_->registry->Collect();
}

std::string MetricsText(const std::vector<prometheus::MetricFamily>& families) {
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace rum
