#ifndef RUM_AGENT_API_GUEST_RUN_KEEPER_H_
#define RUM_AGENT_API_GUEST_RUN_KEEPER_H_

#include <cstdint>
#include <optional>
#include <string>

#include "agent-api/agent.pb.h"

namespace rum::guest {

// One process for each run stands between the agent and the script: it takes the output and the
// exit status, so that neither is lost when the agent is killed or replaced. All that the two have
// in common is the run's folder:
//
//   script    what runs, mode 0700
//   lock      flock(2)ed from before the keeper is until it is gone; holds its pid
//   process   /proc/PID/stat of the script, for who has to end it without a keeper
//   output-*  what it wrote (run_log.h)
//   cancel    made by the agent before it sends the keeper SIGTERM
//   outcome   the keeper's last word, written before the lock is free
//
// A keeper that is ended in another way leaves no outcome: the run was interrupted.

inline constexpr char kKeepRun[] = "keep-run";  // the first argument of such a process

// The keeper's main. `folder` is the run's; its lock, held, is standard input. The environment is
// the script's. `timeout_s`: 0: none. Returns the process's exit status.
int KeepRun(const std::string& folder, uint32_t timeout_s);

// Fills in end, status and ending from the outcome of `folder`; false: there is none.
bool ReadOutcome(const std::string& folder, agent::ScriptRun* run);

// Ends what a keeper that was killed in this boot left running, and waits for it.
void EndScriptOf(const std::string& folder);

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_RUN_KEEPER_H_
