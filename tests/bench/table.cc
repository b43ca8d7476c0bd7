#include "tests/bench/table.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace rum::bench {
namespace {

std::string Cell(const std::optional<Series>& measured) {
  if (!measured.has_value()) return "-";
  const Series& series = *measured;
  return absl::StrFormat("%.1f / %.1f", series.Median(), series.Quantile(0.9));
}

std::string JsonSeries(const std::optional<Series>& measured) {
  if (!measured.has_value()) return "null";
  const Series& series = *measured;
  return absl::StrFormat(R"({"median_ms": %.3f, "p90_ms": %.3f, "samples_ms": [%s]})",
                         series.Median(), series.Quantile(0.9),
                         absl::StrJoin(series.ms, ", ", [](std::string* out, double ms) {
                           absl::StrAppendFormat(out, "%.3f", ms);
                         }));
}

const char* NameOf(Rival rival) {
  switch (rival) {
    case Rival::kSsh:
      return "ssh";
    case Rival::kAnsible:
      return "ansible";
    default:
      return "qemu-ga";
  }
}

std::string JsonText(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) >= ' ') out += c;
  }
  return out + "\"";
}

}  // namespace

double Series::Quantile(double part) const {
  if (ms.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::vector<double> sorted = ms;
  std::sort(sorted.begin(), sorted.end());
  const double rank = std::ceil(part * static_cast<double>(sorted.size()));
  return sorted[static_cast<size_t>(std::max(rank, 1.0)) - 1];
}

double Row::Ratio() const {
  const std::optional<Series>& other = rival == Rival::kSsh       ? ssh
                                       : rival == Rival::kAnsible ? ansible
                                                                  : qemu_agent;
  return rum.Median() / other.value_or(Series()).Median();
}

std::string TextTable(const Circumstances& circumstances, const std::vector<Row>& rows) {
  std::string out = absl::StrFormat(
      "%s, %d rounds%s; median / p90 in ms\n\n| %-16s | %-15s | %-15s | %-15s | %-17s | %-17s | "
      "%-13s |\n"
      "|---|---|---|---|---|---|---|\n",
      circumstances.machine, circumstances.rounds,
      circumstances.optimized ? "" : ", built without -c opt", "", "rum", "qemu-ga exec",
      "warm ssh", "ansible", "rum by its rival", "goal");
  for (const Row& row : rows) {
    absl::StrAppendFormat(&out, "| %-16s | %-15s | %-15s | %-15s | %-17s | %-17s | %-13s |\n",
                          row.job, Cell(row.rum), Cell(row.qemu_agent), Cell(row.ssh),
                          Cell(row.ansible),
                          absl::StrFormat("**%.3f** of %s", row.Ratio(), NameOf(row.rival)),
                          absl::StrFormat("< %.2g: %s", row.goal, row.Met() ? "met" : "missed"));
  }
  absl::StrAppend(&out, "\n/usr/bin/true alone, started in the guest: ",
                  Cell(circumstances.start_of_true), "\n");
  return out;
}

std::string JsonTable(const Circumstances& circumstances, const std::vector<Row>& rows) {
  std::vector<std::string> items;
  for (const Row& row : rows) {
    items.push_back(
        absl::StrFormat("  {\"job\": %s,\n   \"rum\": %s,\n   \"qemu_agent\": %s,\n   \"ssh\": "
                        "%s,\n   \"ansible\": %s,\n"
                        "   \"rival\": \"%s\", \"ratio\": %.4f, \"goal\": %.4f, \"met\": %s}",
                        JsonText(row.job), JsonSeries(row.rum), JsonSeries(row.qemu_agent),
                        JsonSeries(row.ssh), JsonSeries(row.ansible), NameOf(row.rival),
                        row.Ratio(), row.goal, row.Met() ? "true" : "false"));
  }
  return absl::StrFormat(
      "{\"machine\": %s, \"rounds\": %d, \"optimized\": %s, \"start_of_true\": %s, \"rows\": "
      "[\n%s\n]}\n",
      JsonText(circumstances.machine), circumstances.rounds,
      circumstances.optimized ? "true" : "false", JsonSeries(circumstances.start_of_true),
      absl::StrJoin(items, ",\n"));
}

}  // namespace rum::bench
