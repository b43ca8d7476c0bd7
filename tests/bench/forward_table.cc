#include "tests/bench/forward_table.h"

#include <cmath>
#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace rum::bench {
namespace {

constexpr Contender kAll[] = {Contender::kRum, Contender::kSsh, Contender::kSocat, Contender::kGrpc,
                              Contender::kGuest};

double Median(const std::vector<double>& values) { return Series{values}.Median(); }

using Value = std::function<double(const Figures&)>;

void Line(const Table& table, const std::string& what, const Value& value, std::string* text) {
  absl::StrAppend(text, absl::StrFormat("%-26s", what));
  for (const Contender contender : kAll) {
    const auto found = table.figures.find(contender);
    const double number = found == table.figures.end() ? NAN : value(found->second);
    absl::StrAppend(text, std::isnan(number) ? absl::StrFormat("%10s", "-")
                                             : absl::StrFormat("%10.2f", number));
  }
  const auto rum = table.figures.find(Contender::kRum);
  const auto ssh = table.figures.find(Contender::kSsh);
  if (rum != table.figures.end() && ssh != table.figures.end()) {
    absl::StrAppend(text, absl::StrFormat("%12.2f", value(rum->second) / value(ssh->second)));
  }
  text->push_back('\n');
}

double EchoAt(const Figures& figures, size_t connections, double part) {
  const auto found = figures.echo.find(connections);
  return found == figures.echo.end() ? NAN : found->second.Quantile(part);
}

std::string Number(double value) {
  return std::isnan(value) ? "null" : absl::StrFormat("%.3f", value);
}

std::string Quantiles(const Series& series) {
  return absl::StrCat("{\"p50\": ", Number(series.Quantile(0.5)),
                      ", \"p99\": ", Number(series.Quantile(0.99)), "}");
}

}  // namespace

std::string NameOf(Contender contender) {
  switch (contender) {
    case Contender::kRum:
      return "rum";
    case Contender::kSsh:
      return "ssh -L";
    case Contender::kSocat:
      return "socat";
    case Contender::kGuest:
      return "in guest";
    default:
      return "gRPC";
  }
}

std::string Text(const Table& table) {
  std::string text = absl::StrCat(table.machine, "\n", table.rounds, " rounds, ", table.megabytes,
                                  " MB each way, ssh with ", table.cipher,
                                  table.optimized ? "" : ", NOT OPTIMIZED (-c opt)", "\n\n");
  absl::StrAppend(&text, absl::StrFormat("%-26s", ""));
  for (const Contender contender : kAll) {
    absl::StrAppend(&text, absl::StrFormat("%10s", NameOf(contender)));
  }
  absl::StrAppend(&text, "  rum/ssh -L\n");
  Line(
      table, "to the guest, MB/s", [](const Figures& f) { return Median(f.up); }, &text);
  Line(
      table, "from the guest, MB/s", [](const Figures& f) { return Median(f.down); }, &text);
  for (const size_t connections : kConnections) {
    for (const double part : {0.5, 0.99}) {
      Line(
          table,
          absl::StrCat("echo, ", connections, " open, p", static_cast<int>(part * 100), ", ms"),
          [&](const Figures& f) { return EchoAt(f, connections, part); }, &text);
    }
  }
  for (const double part : {0.5, 0.99}) {
    Line(
        table, absl::StrCat("connect + byte, p", static_cast<int>(part * 100), ", ms"),
        [&](const Figures& f) { return f.first_byte.Quantile(part); }, &text);
  }
  return text;
}

std::string Json(const Table& table) {
  std::string json = absl::StrCat(
      "{\"machine\": \"", table.machine, "\", \"optimized\": ", table.optimized ? "true" : "false",
      ", \"rounds\": ", table.rounds, ", \"megabytes\": ", table.megabytes, ", \"ssh_cipher\": \"",
      table.cipher, "\", \"contenders\": {");
  const char* comma = "";
  for (const auto& [contender, figures] : table.figures) {
    absl::StrAppend(&json, comma, "\"", NameOf(contender),
                    "\": {\"up_mb_s\": ", Number(Median(figures.up)),
                    ", \"down_mb_s\": ", Number(Median(figures.down)), ", \"echo_ms\": {");
    const char* inner = "";
    for (const auto& [connections, series] : figures.echo) {
      absl::StrAppend(&json, inner, "\"", connections, "\": ", Quantiles(series));
      inner = ", ";
    }
    absl::StrAppend(&json, "}, \"first_byte_ms\": ", Quantiles(figures.first_byte), "}");
    comma = ", ";
  }
  return json + "}}\n";
}

}  // namespace rum::bench
