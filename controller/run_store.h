#ifndef RUM_CONTROLLER_RUN_STORE_H_
#define RUM_CONTROLLER_RUN_STORE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "agent-api/agent.pb.h"
#include "agent-api/run_log/run_log.h"

namespace rum {

// The host's copy of what scripts wrote and how they ended, in a folder for each machine and run:
// the last ten of each kind. It is filled by whoever follows a run, as often and in as many parts
// as that may be; each byte is kept once. Thread-safe.
class RunStore {
 public:
  static constexpr size_t kMostRuns = 10;  // of each kind

  // `folder`: made when it is needed; empty: nothing is kept.
  explicit RunStore(std::string folder) : folder_(std::move(folder)) {}

  // What one who follows `run_id` heard: output, or the end.
  void Take(const std::string& machine_id, const std::string& run_id,
            const agent::RunScriptEvent& event);
  // A run as the guest's ledger has it. Older ones of its kind go.
  void Note(const std::string& machine_id, const agent::ScriptRun& run);
  // All that are kept, oldest first.
  std::vector<agent::ScriptRun> Runs(const std::string& machine_id) const;
  // Up to where its output is here.
  uint64_t End(const std::string& machine_id, const std::string& run_id);
  // The run is over and nothing is left to fetch.
  bool Whole(const std::string& machine_id, const std::string& run_id) const;
  // For a RunLogReader.
  std::string FolderOf(const std::string& machine_id, const std::string& run_id) const;
  void Remove(const std::string& machine_id);

 private:
  RunLogWriter* WriterOf(const std::string& machine_id, const std::string& run_id);
  void Prune(const std::string& machine_id, const std::string& kind);

  const std::string folder_;
  mutable std::mutex mutex_;
  std::map<std::string, std::unique_ptr<RunLogWriter>> writers_;  // of runs that go on, by folder
};

// What a guest may name a run; anything else is not kept.
bool IsRunId(const std::string& run_id);

}  // namespace rum

#endif  // RUM_CONTROLLER_RUN_STORE_H_
