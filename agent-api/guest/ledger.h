#ifndef RUM_AGENT_API_GUEST_LEDGER_H_
#define RUM_AGENT_API_GUEST_LEDGER_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "agent-api/agent.pb.h"

namespace rum::guest {

// Knows which scripts ran in this guest, how often and how they ended: one file, a line as protobuf
// JSON for each thing that became known of a run; of a run_id the last line counts. Lines are
// appended, and the file is replaced as a whole when most of them are old. A run that has no end
// and belongs to an earlier boot was interrupted. Where lines are damaged the file is kept beside
// it, in FILE.damaged. Not thread-safe.
class Ledger {
 public:
  explicit Ledger(std::string path);
  const std::vector<agent::ScriptRun>& runs() const { return runs_; }
  std::optional<agent::ScriptRun> Find(const std::string& run_id) const;
  // Adds the run, or replaces the one with its run_id; on disk when it returns Ok. Keeps the last
  // 70 of each kind, and its last success.
  absl::Status Put(const agent::ScriptRun& run);
  // The same for what is so whether a disk that is full takes it or not: it is known from now on,
  // and on disk with the next run that is.
  absl::Status PutEnd(const agent::ScriptRun& run);

 private:
  std::vector<agent::ScriptRun> With(const agent::ScriptRun& run) const;
  absl::Status Append(const agent::ScriptRun& run);
  absl::Status Write(const std::vector<agent::ScriptRun>& runs);
  bool Appendable() const;

  const std::string path_;
  absl::Status readable_;  // else nothing is written: it may hold runs that must not be forgotten
  std::vector<agent::ScriptRun> runs_;
  size_t lines_ = 0;    // of the file
  bool whole_ = false;  // the file is there and its last line has its end
};

// /proc/sys/kernel/random/boot_id
std::string BootId();

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_LEDGER_H_
