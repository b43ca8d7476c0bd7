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
  const absl::StatusOr<std::string> text = ReadFileToEdit(path_);
  if (!text.ok()) {
    if (!absl::IsNotFound(text.status())) readable_ = text.status();
    return;
  }
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;  // a newer agent's
  std::istringstream lines(*text);
  bool damaged = false;
  for (std::string line; std::getline(lines, line);) {
    agent::ScriptRun run;
    const bool whole = google::protobuf::util::JsonStringToMessage(line, &run, options).ok();
    if (whole && !run.run_id().empty()) {
      runs_.push_back(run);
    } else {
      damaged = true;
    }
  }
  if (damaged) readable_ = WriteFileAtomically(path_ + ".damaged", *text, 0600);
}

std::optional<agent::ScriptRun> Ledger::Find(const std::string& run_id) const {
  for (const agent::ScriptRun& run : runs_) {
    if (run.run_id() == run_id) return run;
  }
  return std::nullopt;
}

absl::Status Ledger::Put(const agent::ScriptRun& run) {
  if (!readable_.ok()) return readable_;
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
  absl::Status status = WriteFileAtomically(path_, text, 0600);
  if (status.ok()) status = SyncFolder(path_.substr(0, path_.rfind('/') + 1));
  if (status.ok()) runs_ = std::move(runs);
  return status;
}

std::string BootId() { return FirstLine(ReadFile("/proc/sys/kernel/random/boot_id")); }

}  // namespace rum::guest
