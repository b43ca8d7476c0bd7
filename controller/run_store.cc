#include "controller/run_store.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "controller/script_ledger.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

// A run's folder has its log (run_log.h), `run`: how it ended, as far as is known, and `whole`,
// once nothing is left to fetch.
constexpr char kRun[] = "/run";
constexpr char kWhole[] = "/whole";

agent::ScriptRun ReadRun(const std::string& folder) {
  agent::ScriptRun run;
  std::ifstream file(folder + kRun, std::ios::binary);
  if (file) run.ParseFromString({std::istreambuf_iterator<char>(file), {}});
  return run;
}

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

// A run that was begun earlier comes first; the id keeps equal times apart.
bool Earlier(const agent::ScriptRun& a, const agent::ScriptRun& b) {
  return std::pair(a.started_ms(), a.run_id()) < std::pair(b.started_ms(), b.run_id());
}

}  // namespace

bool IsRunId(const std::string& run_id) {
  return !run_id.empty() && run_id.size() <= 64 &&
         std::all_of(run_id.begin(), run_id.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-';
         });
}

std::string RunStore::FolderOf(const std::string& machine_id, const std::string& run_id) const {
  return folder_ + "/" + machine_id + "/" + run_id;
}

RunLogWriter* RunStore::WriterOf(const std::string& machine_id, const std::string& run_id) {
  const std::string folder = FolderOf(machine_id, run_id);
  std::unique_ptr<RunLogWriter>& writer = writers_[folder];
  if (writer == nullptr) {
    std::error_code ignored;
    fs::create_directories(folder, ignored);
    chmod(folder_.c_str(), 0700);
    auto opened = RunLogWriter::Open(folder);
    if (opened.ok()) writer = *std::move(opened);
  }
  return writer.get();
}

void RunStore::Take(const std::string& machine_id, const std::string& run_id,
                    const agent::RunScriptEvent& event) {
  if (folder_.empty() || !IsRunId(run_id)) return;
  if (event.has_ended()) {
    Note(machine_id, event.ended());
    const std::lock_guard<std::mutex> guard(mutex_);
    if (!Exists(FolderOf(machine_id, run_id) + kRun)) return;  // older than those that are kept
    if (RunLogWriter* writer = WriterOf(machine_id, run_id)) (void)writer->Sync();
    std::ofstream(FolderOf(machine_id, run_id) + kWhole).flush();
    writers_.erase(FolderOf(machine_id, run_id));
    return;
  }
  const std::lock_guard<std::mutex> guard(mutex_);
  RunLogWriter* const writer = WriterOf(machine_id, run_id);
  if (writer == nullptr) return;
  const bool error = event.has_standard_error();
  // A disk that is full loses output; the log shows what is missing.
  (void)writer->Append({event.offset(), event.time_ms(), error,
                        error ? event.standard_error() : event.standard_output()});
}

void RunStore::Note(const std::string& machine_id, const agent::ScriptRun& run) {
  if (folder_.empty() || !IsRunId(run.run_id())) return;
  const std::lock_guard<std::mutex> guard(mutex_);
  const std::string folder = FolderOf(machine_id, run.run_id());
  if (Exists(folder + kRun) && ReadRun(folder).SerializeAsString() == run.SerializeAsString()) {
    return;
  }
  std::error_code ignored;
  fs::create_directories(folder, ignored);
  chmod(folder_.c_str(), 0700);
  const std::string path = folder + kRun;
  std::ofstream(path + ".new", std::ios::binary) << run.SerializeAsString();
  fs::rename(path + ".new", path, ignored);
  Prune(machine_id, run.kind());
}

std::vector<agent::ScriptRun> RunStore::Runs(const std::string& machine_id) const {
  std::vector<agent::ScriptRun> runs;
  std::error_code error;
  for (fs::directory_iterator entry(folder_ + "/" + machine_id, error), end;
       !folder_.empty() && !error && entry != end; entry.increment(error)) {
    agent::ScriptRun run = ReadRun(entry->path());
    if (run.run_id() == entry->path().filename()) runs.push_back(std::move(run));
  }
  std::sort(runs.begin(), runs.end(), Earlier);
  return runs;
}

void RunStore::Prune(const std::string& machine_id, const std::string& kind) {
  std::vector<agent::ScriptRun> runs = Runs(machine_id);
  runs.erase(
      std::remove_if(runs.begin(), runs.end(), [&](const auto& run) { return run.kind() != kind; }),
      runs.end());
  for (size_t i = 0; i + kMostRuns < runs.size(); ++i) {
    std::error_code ignored;
    writers_.erase(FolderOf(machine_id, runs[i].run_id()));
    fs::remove_all(FolderOf(machine_id, runs[i].run_id()), ignored);
  }
}

uint64_t RunStore::End(const std::string& machine_id, const std::string& run_id) {
  if (folder_.empty() || !IsRunId(run_id)) return 0;
  const std::lock_guard<std::mutex> guard(mutex_);
  if (!Exists(FolderOf(machine_id, run_id))) return 0;
  const RunLogWriter* const writer = WriterOf(machine_id, run_id);
  return writer == nullptr ? 0 : writer->end();
}

bool RunStore::Whole(const std::string& machine_id, const std::string& run_id) const {
  return folder_.empty() || !IsRunId(run_id) || Exists(FolderOf(machine_id, run_id) + kWhole);
}

void RunStore::Remove(const std::string& machine_id) {
  if (folder_.empty() || machine_id.empty()) return;
  const std::lock_guard<std::mutex> guard(mutex_);
  writers_.clear();
  std::error_code ignored;
  fs::remove_all(folder_ + "/" + machine_id, ignored);
}

}  // namespace rum
