#include "agent-api/guest/ledger.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <sstream>

#include "agent-api/guest/text_file.h"

namespace rum::guest {
namespace {

constexpr size_t kMostRuns = 200;

}  // namespace

Ledger::Ledger(std::string path) : path_(std::move(path)) {
  std::istringstream lines(ReadFile(path_));
  for (std::string line; std::getline(lines, line);) {
    agent::ScriptRun run;
    if (google::protobuf::util::JsonStringToMessage(line, &run).ok()) runs_.push_back(run);
  }
}

std::optional<agent::ScriptRun> Ledger::Find(const std::string& run_id) const {
  for (const agent::ScriptRun& run : runs_) {
    if (run.run_id() == run_id) return run;
  }
  return std::nullopt;
}

absl::Status Ledger::Put(const agent::ScriptRun& run) {
  std::vector<agent::ScriptRun> runs = runs_;
  const auto old = std::find_if(runs.begin(), runs.end(),
                                [&](const auto& r) { return r.run_id() == run.run_id(); });
  if (old != runs.end()) {
    *old = run;
  } else {
    runs.push_back(run);
  }
  if (runs.size() > kMostRuns) runs.erase(runs.begin());
  std::string text;
  for (const agent::ScriptRun& each : runs) {
    std::string line;
    if (!google::protobuf::util::MessageToJsonString(each, &line).ok()) {
      return absl::InternalError("a run of the ledger is not valid UTF-8");
    }
    text += line + "\n";
  }
  const absl::Status status = WriteFileAtomically(path_, text, 0600);
  if (status.ok()) runs_ = std::move(runs);
  return status;
}

std::string BootId() { return FirstLine(ReadFile("/proc/sys/kernel/random/boot_id")); }

}  // namespace rum::guest
