#include "controller/aspects/run_store.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <tuple>
#include <utility>

#include "agent-api/budget.h"
#include "state/file.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

// A run's folder has its log (run_log.h), `run`: how it ended, as far as is known, and `whole`,
// once nothing is left to fetch.
constexpr char kRun[] = "/run";
constexpr char kWhole[] = "/whole";

agent::ScriptRun ReadRun(const std::string& folder) {
  agent::ScriptRun run;
  const absl::StatusOr<std::string> bytes = ReadFile(folder + kRun);
  if (bytes.ok() && !run.ParseFromString(*bytes)) run.Clear();
  return run;
}

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

// A power cut left earlier builds' empty.
bool HasRun(const std::string& folder) {
  std::error_code none;
  const uintmax_t size = fs::file_size(folder + kRun, none);
  return !none && size > 0;
}

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
    if (MakeFolders(folder).ok()) {
      auto opened = RunLogWriter::Open(folder);
      if (opened.ok()) writer.log = *std::move(opened);
    }
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
    const std::string folder = FolderOf(machine_id, run_id);
    if (!Exists(folder + kRun)) return;  // older than those that are kept
    RunLogWriter* const writer = WriterOf(machine_id, run_id);
    const bool all = writer != nullptr && !spaces_[machine_id].writers[run_id].lost;
    // What is not whole the next look fetches.
    if (all && writer->Sync().ok() && SyncFile(folder).ok()) {
      ReplaceFile(folder + kWhole, "").IgnoreError();
    }
    spaces_[machine_id].writers.erase(run_id);
    return;
  }
  const bool error = event.has_standard_error();
  const std::string& bytes = error ? event.standard_error() : event.standard_output();
  if (bytes.empty()) return;
  const std::lock_guard<std::mutex> guard(mutex_);
  const bool fresh = !Exists(FolderOf(machine_id, run_id));
  RunLogWriter* const writer = WriterOf(machine_id, run_id);
  Space& space = spaces_[machine_id];
  Writer& entry = space.writers[run_id];
  // What a full disk did not take is fetched again, with all that follows it.
  if (writer != nullptr && entry.lost && event.offset() > writer->end()) return;
  entry.lost =
      writer == nullptr || !writer->Append({event.offset(), event.time_ms(), error, bytes}).ok();
  if (entry.lost) {
    entry.log = nullptr;
    return;
  }
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
  // The next look notes what the disk does not take now.
  if (!MakeFolders(folder).ok() || !ReplaceFile(folder + kRun, run.SerializeAsString()).ok())
    return;
  Space& space = spaces_[machine_id];
  if (space.places.emplace(run.run_id(), space.next_place).second) ++space.next_place;
  Prune(machine_id, run.kind());
}

void RunStore::Order(const std::string& machine_id,
                     const google::protobuf::RepeatedPtrField<agent::ScriptRun>& runs) {
  const std::lock_guard<std::mutex> guard(mutex_);
  Space& space = spaces_[machine_id];
  space.places.clear();
  space.next_place = 1;
  for (const agent::ScriptRun& run : runs) {
    if (space.places.emplace(run.run_id(), space.next_place).second) ++space.next_place;
  }
}

std::vector<agent::ScriptRun> RunStore::Runs(const std::string& machine_id) const {
  const std::lock_guard<std::mutex> guard(mutex_);
  return Kept(machine_id);
}

std::vector<agent::ScriptRun> RunStore::Kept(const std::string& machine_id) const {
  std::vector<agent::ScriptRun> runs;
  std::error_code error;
  for (fs::directory_iterator entry(folder_ + "/" + machine_id, error), end;
       !folder_.empty() && !error && entry != end; entry.increment(error)) {
    agent::ScriptRun run = ReadRun(entry->path());
    if (run.run_id() == entry->path().filename()) runs.push_back(std::move(run));
  }
  const auto space = spaces_.find(machine_id);
  // Those that nobody knows a place of are older, in the order of their clock.
  const auto place_of = [&](const agent::ScriptRun& run) {
    if (space == spaces_.end()) return size_t{0};
    const auto found = space->second.places.find(run.run_id());
    return found == space->second.places.end() ? 0 : found->second;
  };
  std::sort(runs.begin(), runs.end(), [&](const auto& a, const auto& b) {
    return std::tuple(place_of(a), a.started_ms(), a.run_id()) <
           std::tuple(place_of(b), b.started_ms(), b.run_id());
  });
  return runs;
}

void RunStore::Prune(const std::string& machine_id, const std::string& kind) {
  std::vector<agent::ScriptRun> runs = Kept(machine_id);
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
  if (folder_.empty() || !IsRunId(run_id)) return true;
  const std::string folder = FolderOf(machine_id, run_id);
  return Exists(folder + kWhole) && HasRun(folder);
}

void RunStore::Remove(const std::string& machine_id) {
  if (folder_.empty() || machine_id.empty()) return;
  const std::lock_guard<std::mutex> guard(mutex_);
  spaces_.erase(machine_id);
  std::error_code ignored;
  fs::remove_all(folder_ + "/" + machine_id, ignored);
}

}  // namespace rum
