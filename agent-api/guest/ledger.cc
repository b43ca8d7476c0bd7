#include "agent-api/guest/ledger.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include "agent-api/guest/text_file.h"

namespace rum::guest {
namespace {

constexpr size_t kMostRuns = 70;  // of each kind

bool Succeeded(const agent::ScriptRun& run) {
  return run.ended_ms() != 0 && run.exit_status() == 0 && run.signal() == 0 &&
         run.ending() == agent::ScriptRun::BY_ITSELF;
}

// The last ones of each kind, and each kind's last success, however old: a hundred boots later the
// system script has still run.
std::vector<agent::ScriptRun> Newest(const std::vector<agent::ScriptRun>& runs) {
  std::map<std::string, size_t> of_kind;
  std::set<std::string> succeeded;
  std::vector<agent::ScriptRun> kept;
  for (auto run = runs.rbegin(); run != runs.rend(); ++run) {
    const bool last_success = Succeeded(*run) && succeeded.insert(run->kind()).second;
    if (++of_kind[run->kind()] <= kMostRuns || last_success) kept.push_back(*run);
  }
  std::reverse(kept.begin(), kept.end());
  return kept;
}

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

std::vector<agent::ScriptRun> Ledger::With(const agent::ScriptRun& run) const {
  std::vector<agent::ScriptRun> runs = runs_;
  const auto old = std::find_if(runs.begin(), runs.end(),
                                [&](const auto& r) { return r.run_id() == run.run_id(); });
  if (old != runs.end()) {
    *old = run;
  } else {
    runs.push_back(run);
  }
  return Newest(runs);
}

absl::Status Ledger::Write(const std::vector<agent::ScriptRun>& runs) const {
  std::string text;
  for (const agent::ScriptRun& each : runs) {
    std::string line;
    if (!google::protobuf::util::MessageToJsonString(each, &line).ok()) {
      return absl::InternalError("a run of the ledger is not valid UTF-8");
    }
    text += line + "\n";
  }
  const absl::Status status = WriteFileAtomically(path_, text, 0600);
  return status.ok() ? SyncFolder(path_.substr(0, path_.rfind('/') + 1)) : status;
}

absl::Status Ledger::Put(const agent::ScriptRun& run) {
  if (!readable_.ok()) return readable_;
  std::vector<agent::ScriptRun> runs = With(run);
  const absl::Status status = Write(runs);
  if (status.ok()) runs_ = std::move(runs);
  return status;
}

absl::Status Ledger::PutEnd(const agent::ScriptRun& run) {
  runs_ = With(run);
  return readable_.ok() ? Write(runs_) : readable_;
}

std::string BootId() { return FirstLine(ReadFile("/proc/sys/kernel/random/boot_id")); }

}  // namespace rum::guest
