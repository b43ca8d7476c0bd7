#ifndef RUM_CONTROLLER_ASPECTS_RUN_STORE_H_
#define RUM_CONTROLLER_ASPECTS_RUN_STORE_H_

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
// as that may be; each byte is kept once. What a guest tells takes up no more than the limits
// below, the oldest runs go for it. Thread-safe.
class RunStore {
 public:
  static constexpr size_t kMostRuns = 10;            // of each kind
  static constexpr size_t kMostUnknown = 4;          // whose kind nobody has told yet
  static constexpr size_t kMostWriters = 4;          // open at a time, of a machine
  static constexpr uint64_t kMostBytes = 128 << 20;  // of a machine, and a 32nd more meanwhile

  // `folder`: made when it is needed; empty: nothing is kept.
  explicit RunStore(std::string folder, uint64_t most_bytes = kMostBytes)
      : folder_(std::move(folder)), most_bytes_(most_bytes) {}

  // What one who follows `run_id` heard: output, or the end.
  void Take(const std::string& machine_id, const std::string& run_id,
            const agent::RunScriptEvent& event);
  // A run as the guest's ledger has it. Older ones of its kind go.
  void Note(const std::string& machine_id, const agent::ScriptRun& run);
  // The runs of the guest's ledger, the newest last, which is the order of those that are kept:
  // a guest's clock may have been put back. One that is noted and not among them is the newest.
  void Order(const std::string& machine_id,
             const google::protobuf::RepeatedPtrField<agent::ScriptRun>& runs);
  // All that are kept, oldest first.
  std::vector<agent::ScriptRun> Runs(const std::string& machine_id) const;
  // Up to where its output is here.
  uint64_t End(const std::string& machine_id, const std::string& run_id);
  // The run is over and nothing is left to fetch.
  bool Whole(const std::string& machine_id, const std::string& run_id) const;
  // Returns the folder for a RunLogReader.
  std::string FolderOf(const std::string& machine_id, const std::string& run_id) const;
  void Remove(const std::string& machine_id);

 private:
  struct Writer {
    std::unique_ptr<RunLogWriter> log;
    uint64_t used = 0;  // the greater, the later
    bool lost = false;  // the disk did not take what follows the log's end
  };
  // Of one machine.
  struct Space {
    std::map<std::string, Writer> writers;  // of runs that go on, by run_id
    uint64_t unswept = 0;                   // bytes since the last look at what there is
    bool swept = false;
    std::map<std::string, size_t> places;  // of runs in their order, from 1 on
    size_t next_place = 1;
  };

  RunLogWriter* WriterOf(const std::string& machine_id, const std::string& run_id);
  std::vector<agent::ScriptRun> Kept(const std::string& machine_id) const;
  void Drop(const std::string& machine_id, const std::string& run_id);
  void Prune(const std::string& machine_id, const std::string& kind);
  // Removes what is beyond the limits, but nothing of `run_id`, which is being written.
  void Sweep(const std::string& machine_id, const std::string& run_id);

  const std::string folder_;
  const uint64_t most_bytes_;
  mutable std::mutex mutex_;
  std::map<std::string, Space> spaces_;  // by machine
  uint64_t uses_ = 0;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_ASPECTS_RUN_STORE_H_
