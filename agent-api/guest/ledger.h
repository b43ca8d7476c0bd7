#ifndef RUM_AGENT_API_GUEST_LEDGER_H_
#define RUM_AGENT_API_GUEST_LEDGER_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "agent-api/agent.pb.h"

namespace rum::guest {

// Which scripts ran in this guest, how often and how they ended: one file, replaced as a whole, a
// run a line as protobuf JSON. A run that has no end and belongs to an earlier boot was
// interrupted. Lines that are damaged are kept beside it, in FILE.damaged. Not thread-safe.
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
  absl::Status Write(const std::vector<agent::ScriptRun>& runs) const;

  const std::string path_;
  absl::Status readable_;  // else nothing is written: it may hold runs that must not be forgotten
  std::vector<agent::ScriptRun> runs_;
};

// /proc/sys/kernel/random/boot_id
std::string BootId();

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_LEDGER_H_
