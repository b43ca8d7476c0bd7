#ifndef RUM_CLI_LOG_TEXT_H_
#define RUM_CLI_LOG_TEXT_H_

#include <cstdint>
#include <string>

#include "agent-api/agent.pb.h"
#include "cli/render.h"
#include "controller/service/control.pb.h"

namespace rum {

// Output of a run as lines with the time at which each began. Pure.
class TimedLines {
 public:
  explicit TimedLines(const Style& style) : style_(style) {}
  std::string Next(int64_t time_ms, const std::string& bytes);
  std::string End();  // of a last line that does not end

 private:
  const Style style_;
  std::string line_;
  int64_t began_ms_ = 0;
};

// "12:30:01.123", in the local time zone.
std::string ClockText(int64_t time_ms);
// A row for each run, its columns in line.
std::string RenderRuns(const control::RunsReply& runs, const Style& style);
// "done", "failed with exit status 3", "running".
std::string OutcomeText(const agent::ScriptRun& run);
// The line that stands for output that was not kept.
std::string NotKept(uint64_t bytes);

}  // namespace rum

#endif  // RUM_CLI_LOG_TEXT_H_
