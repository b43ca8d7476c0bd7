#ifndef RUM_AGENT_API_GUEST_SCRIPTS_H_
#define RUM_AGENT_API_GUEST_SCRIPTS_H_

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "agent-api/agent.pb.h"
#include "agent-api/guest/ledger.h"

namespace rum::guest {

// Runs provisioning scripts. A run belongs to the guest: it goes on when the host goes away, and
// under the next agent when this one is killed or replaced (run_keeper.h); whoever asks for the
// same run_id gets its output from any offset on. Runs of one kind never overlap. Thread-safe; must
// outlive the process's other threads.
class Scripts {
 public:
  // Takes what one who follows a run hears: output and at last the outcome; false stops.
  using Sink = std::function<bool(const agent::RunScriptEvent&)>;
  // Asked now and then while there is no output: whether who follows has gone.
  using Gone = std::function<bool()>;

  // `folder`: /var/lib/rum; made when it is not there. `program`: a rum-agent, which keeps the
  // runs.
  explicit Scripts(const std::string& folder, std::string program = "/proc/self/exe");

  // Starts the run unless the ledger knows its run_id, and follows it to its end.
  absl::Status Run(
      const agent::RunScriptRequest& request, const Sink& sink,
      const Gone& gone = [] { return false; });
  absl::Status Follow(
      const std::string& run_id, uint64_t offset, const Sink& sink,
      const Gone& gone = [] { return false; });
  absl::Status Cancel(const std::string& run_id);

  // What to run in a boot that no host sees.
  absl::Status SetBootScript(const agent::SetBootScriptRequest& request);
  std::string BootScriptHash();
  // Starts that script, if there is one and no boot script was begun in this boot. Does not wait.
  absl::Status RunBootScript();

  // What the agent does itself stands in the ledger like a script: `work` writes its output and
  // returns an exit status. When the ledger cannot be written, nothing is done.
  absl::Status Keep(const std::string& kind, const std::function<int(std::string* output)>& work);

  std::vector<agent::ScriptRun> Runs();
  // Has `on_end` called whenever a script has ended, on a thread of its own.
  void OnEnd(std::function<void()> on_end);

 private:
  struct Live;

  void Adopt();
  absl::Status StartWhenFree(const agent::RunScriptRequest& request,
                             std::unique_lock<std::mutex>* guard);
  absl::Status Start(const agent::RunScriptRequest& request);
  absl::Status MakeFolder(const agent::RunScriptRequest& request);
  absl::Status StartKeeper(const agent::RunScriptRequest& request, int lock);
  void Watch(const agent::ScriptRun& run);
  void Settle(agent::ScriptRun run);  // it has no keeper any more
  std::string FolderOf(const std::string& run_id) const { return folder_ + "/runs/" + run_id; }

  const std::string folder_;
  const std::string program_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::function<void()> on_end_;
  Ledger ledger_;
  agent::SetBootScriptRequest boot_script_;
  std::map<std::string, std::shared_ptr<Live>> live_;  // by run_id
};

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_SCRIPTS_H_
