#ifndef RUM_AGENT_API_GUEST_SCRIPTS_H_
#define RUM_AGENT_API_GUEST_SCRIPTS_H_

#include <condition_variable>
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

// Runs provisioning scripts. A run belongs to the agent, not to the session that asked for it: it
// goes on when the host goes away, and whoever asks for the same run_id gets its output from the
// beginning. Runs of one kind never overlap: what an agent that was killed left running is ended by
// the next. Thread-safe; must outlive the runs that it started.
class Scripts {
 public:
  // `folder`: /var/lib/rum; made when it is not there.
  explicit Scripts(const std::string& folder);

  // Starts the run, or attaches to it, and follows it to its end. `sink` gets output and at last
  // the outcome, and returns false to stop following. A run of this id that was interrupted is
  // started again.
  absl::Status Run(const agent::RunScriptRequest& request,
                   const std::function<bool(const agent::RunScriptEvent&)>& sink);

  std::vector<agent::ScriptRun> Runs();
  // To be called once a run has ended, on its thread; set before the first run.
  void OnEnd(std::function<void()> on_end) { on_end_ = std::move(on_end); }

 private:
  struct Live;
  void EndLeftovers();
  absl::Status Start(const agent::RunScriptRequest& request, const std::shared_ptr<Live>& live);
  void Follow(std::shared_ptr<Live> live);  // a thread of its own for each run
  bool SendOutput(const std::string& run_id, uint64_t* offset,
                  const std::function<bool(const agent::RunScriptEvent&)>& sink);
  std::string FolderOf(const std::string& run_id) const { return folder_ + "/runs/" + run_id; }

  const std::string folder_;
  std::function<void()> on_end_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Ledger ledger_;
  std::map<std::string, std::shared_ptr<Live>> live_;  // by run_id
};

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_SCRIPTS_H_
