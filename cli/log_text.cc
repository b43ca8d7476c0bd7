#include "cli/log_text.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "cli/terminal_text.h"

namespace rum {
namespace {

constexpr size_t kMostBytes = 64 * 1024;  // of bytes that do not end in a line

std::string Lasted(const agent::ScriptRun& run) {
  // The guest's clock may have been put back meanwhile.
  if (run.ended_ms() == 0 || run.ended_ms() < run.started_ms()) return "";
  return absl::StrFormat("%.1f s", static_cast<double>(run.ended_ms() - run.started_ms()) / 1000);
}

}  // namespace

std::string ClockText(int64_t time_ms) {
  return absl::FormatTime("%H:%M:%E3S", absl::FromUnixMillis(time_ms), absl::LocalTimeZone());
}

std::string TimedLines::Next(int64_t time_ms, const std::string& bytes) {
  std::string out;
  for (const char c : bytes) {
    if (line_.empty()) began_ms_ = time_ms;
    line_ += c;
    if (c == '\n' || line_.size() >= kMostBytes) out += End();
  }
  return out;
}

std::string TimedLines::End() {
  if (line_.empty()) return "";
  if (line_.back() == '\n') line_.pop_back();
  if (!line_.empty() && line_.back() == '\r') line_.pop_back();
  std::string out = absl::StrCat(ClockText(began_ms_), " ", OneLine(line_, style_.utf8), "\n");
  line_.clear();
  return out;
}

std::string OutcomeText(const agent::ScriptRun& run) {
  switch (run.ending()) {
    case agent::ScriptRun::INTERRUPTED:
      return "interrupted";
    case agent::ScriptRun::CANCELLED:
      return "cancelled";
    case agent::ScriptRun::TIMED_OUT:
      return "timed out";
    default:
      break;
  }
  if (run.ended_ms() == 0) return "running";
  if (run.signal() != 0) return absl::StrCat("failed: ended by signal ", run.signal());
  if (run.exit_status() != 0) return absl::StrCat("failed with exit status ", run.exit_status());
  return "done";
}

std::string NotKept(uint64_t bytes) {
  return absl::StrCat("[rum: ", bytes, " bytes of output were not kept]\n");
}

std::string RenderRuns(const control::RunsReply& runs, const Style& style) {
  if (runs.runs().empty()) return "no runs\n";
  std::vector<std::vector<std::string>> rows = {{"STARTED", "KIND", "TOOK", "RUN", "OUTCOME"}};
  for (const agent::ScriptRun& run : runs.runs()) {
    rows.push_back({absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::FromUnixMillis(run.started_ms()),
                                     absl::LocalTimeZone()),
                    run.kind(), Lasted(run), run.run_id(), OutcomeText(run)});
  }
  return Columns(std::move(rows), style);
}

}  // namespace rum
