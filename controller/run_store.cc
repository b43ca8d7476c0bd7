#include "controller/run_store.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "agent-api/budget.h"

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

struct KeptFolder {
  std::string run_id;
  fs::file_time_type changed;
  uint64_t bytes = 0;
  bool known = false;  // its kind and beginning
};

// Those of a machine's runs, the one that was changed longest ago first.
std::vector<KeptFolder> FoldersIn(const std::string& machine) {
  std::vector<KeptFolder> folders;
  std::error_code error;
  for (fs::directory_iterator entry(machine, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;
    KeptFolder folder{entry->path().filename(), entry->last_write_time(ignored), 0,
                      Exists(entry->path().string() + kRun)};
    for (fs::directory_iterator file(entry->path(), ignored), none; !ignored && file != none;
         file.increment(ignored)) {
      std::error_code gone;
      const uintmax_t size = file->file_size(gone);
      if (!gone) folder.bytes += size;
    }
    folders.push_back(std::move(folder));
  }
  std::sort(folders.begin(), folders.end(),
            [](const auto& a, const auto& b) { return a.changed < b.changed; });
  return folders;
}

// A run that was begun earlier comes first; the id keeps equal times apart.
bool Earlier(const agent::ScriptRun& a, const agent::ScriptRun& b) {
  return std::pair(a.started_ms(), a.run_id()) < std::pair(b.started_ms(), b.run_id());
}

}  // namespace

std::string RunStore::FolderOf(const std::string& machine_id, const std::string& run_id) const {
  return folder_ + "/" + machine_id + "/" + run_id;
}

RunLogWriter* RunStore::WriterOf(const std::string& machine_id, const std::string& run_id) {
  auto& writers = spaces_[machine_id].writers;
  Writer& writer = writers[run_id];
  writer.used = ++uses_;
  if (writer.log == nullptr) {
    const std::string folder = FolderOf(machine_id, run_id);
    std::error_code ignored;
    fs::create_directories(folder, ignored);
    chmod(folder_.c_str(), 0700);
    auto opened = RunLogWriter::Open(folder);
    if (opened.ok()) writer.log = *std::move(opened);
  }
  RunLogWriter* const log = writer.log.get();
  // The one that was longest of no use is opened again where it ended.
  while (writers.size() > kMostWriters) {
    writers.erase(std::min_element(
        writers.begin(), writers.end(),
        [](const auto& a, const auto& b) { return a.second.used < b.second.used; }));
  }
  return log;
}

void RunStore::Drop(const std::string& machine_id, const std::string& run_id) {
  spaces_[machine_id].writers.erase(run_id);
  std::error_code ignored;
  fs::remove_all(FolderOf(machine_id, run_id), ignored);
}

void RunStore::Take(const std::string& machine_id, const std::string& run_id,
                    const agent::RunScriptEvent& event) {
  if (folder_.empty() || !IsRunId(run_id)) return;
  if (event.has_ended()) {
    if (event.ended().run_id() != run_id) return;
    Note(machine_id, event.ended());
    const std::lock_guard<std::mutex> guard(mutex_);
    if (!Exists(FolderOf(machine_id, run_id) + kRun)) return;  // older than those that are kept
    if (RunLogWriter* writer = WriterOf(machine_id, run_id)) (void)writer->Sync();
    std::ofstream(FolderOf(machine_id, run_id) + kWhole).flush();
    spaces_[machine_id].writers.erase(run_id);
    return;
  }
  const bool error = event.has_standard_error();
  const std::string& bytes = error ? event.standard_error() : event.standard_output();
  if (bytes.empty()) return;
  const std::lock_guard<std::mutex> guard(mutex_);
  const bool fresh = !Exists(FolderOf(machine_id, run_id));
  RunLogWriter* const writer = WriterOf(machine_id, run_id);
  if (writer == nullptr) return;
  // A disk that is full loses output; the log shows what is missing.
  (void)writer->Append({event.offset(), event.time_ms(), error, bytes});
  Space& space = spaces_[machine_id];
  space.unswept += bytes.size();
  if (fresh || !space.swept || space.unswept >= most_bytes_ / 32) Sweep(machine_id, run_id);
}

void RunStore::Note(const std::string& machine_id, const agent::ScriptRun& run) {
  if (folder_.empty() || !IsRunId(run.run_id()) || !IsRunKind(run.kind())) return;
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
  for (size_t i = 0; i + kMostRuns < runs.size(); ++i) Drop(machine_id, runs[i].run_id());
}

void RunStore::Sweep(const std::string& machine_id, const std::string& run_id) {
  spaces_[machine_id].unswept = 0;
  spaces_[machine_id].swept = true;
  std::vector<KeptFolder> kept = FoldersIn(folder_ + "/" + machine_id);
  uint64_t bytes = 0;
  size_t count[2] = {};  // of those that are not known, and of those that are
  for (const KeptFolder& folder : kept) bytes += folder.bytes, ++count[folder.known];
  for (const KeptFolder& folder : kept) {
    // Builds before this kept runs of any kind that a guest made up.
    const size_t most = folder.known ? kRunKinds * kMostRuns : kMostUnknown;
    if ((bytes <= most_bytes_ && count[folder.known] <= most) || folder.run_id == run_id) continue;
    Drop(machine_id, folder.run_id);
    bytes -= folder.bytes;
    --count[folder.known];
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
  spaces_.erase(machine_id);
  std::error_code ignored;
  fs::remove_all(folder_ + "/" + machine_id, ignored);
}

}  // namespace rum
