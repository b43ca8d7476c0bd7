#ifndef RUM_CONTROLLER_FLEET_RUN_ARCHIVE_H_
#define RUM_CONTROLLER_FLEET_RUN_ARCHIVE_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "controller/fleet/desired_file.h"
#include "controller/fleet/record_box.h"
#include "controller/reconcile/links.h"

namespace rum {

// What one machine's scripts wrote: fetched from its guest where it is not here yet. Thread-safe.
class RunArchive {
 public:
  using RunList = google::protobuf::RepeatedPtrField<agent::ScriptRun>;
  // False ends what it hears.
  using LogSink = std::function<bool(const agent::RunScriptEvent&)>;

  // What is pointed to outlives it.
  RunArchive(MachineLinks* links, RecordBox* record, const DesiredFile* file)
      : links_(links), record_(record), file_(file) {}

  // Fetches what is missing of runs that a look at the guest's ledger, or a record, has.
  void Collect(const RunList& runs);
  void Collect(const MachineRecord& record);
  // What is kept here, after a look at the guest's ledger; oldest first.
  std::vector<agent::ScriptRun> Runs();
  // Output of a run, then the run as it ended. `follow`: of one that goes on, to its end; then
  // `sink` is called each second at least.
  absl::Status Log(const std::string& run_id, bool follow, const LogSink& sink);
  // Tells the scripts that run to end, and returns them.
  std::vector<agent::ScriptRun> Cancel();

 private:
  MachineLinks* const links_;
  RecordBox* const record_;
  const DesiredFile* const file_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_FLEET_RUN_ARCHIVE_H_
