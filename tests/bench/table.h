#ifndef RUM_TESTS_BENCH_TABLE_H_
#define RUM_TESTS_BENCH_TABLE_H_

#include <optional>
#include <string>
#include <vector>

namespace rum::bench {

// Wall times of one contender, in milliseconds, in the order in which they were taken.
struct Series {
  std::vector<double> ms;

  // The value that `part` (0 to 1) of the samples do not exceed, by nearest rank; of no samples it
  // is not a number.
  double Quantile(double part) const;
  double Median() const { return Quantile(0.5); }
};

enum class Rival { kQemuAgent, kSsh, kAnsible };

// One job, done by all. rum's median is to be below `goal` times the rival's.
struct Row {
  std::string job;
  Series rum;
  std::optional<Series> qemu_agent;  // none: it has nothing that compares
  std::optional<Series> ssh;
  Rival rival = Rival::kQemuAgent;
  double goal = 1;
  std::optional<Series> ansible = std::nullopt;

  double Ratio() const;  // rum's median by the rival's
  bool Met() const { return Ratio() < goal; }
};

struct Circumstances {
  int rounds = 0;
  bool optimized = false;
  std::string machine;
  // In the guest, by a process that is there: what every exec of it has in it.
  Series start_of_true;
};

std::string TextTable(const Circumstances& circumstances, const std::vector<Row>& rows);
// {"machine", "rounds", "optimized", "start_of_true", "rows": [{"job", "rum": {"median_ms",
// "p90_ms", "samples_ms"}, "qemu_agent": … or null, "ssh" and "ansible" likewise, "rival", "ratio",
// "goal", "met"}]}
std::string JsonTable(const Circumstances& circumstances, const std::vector<Row>& rows);

}  // namespace rum::bench

#endif  // RUM_TESTS_BENCH_TABLE_H_
