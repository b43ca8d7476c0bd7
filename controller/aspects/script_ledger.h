#ifndef RUM_CONTROLLER_ASPECTS_SCRIPT_LEDGER_H_
#define RUM_CONTROLLER_ASPECTS_SCRIPT_LEDGER_H_

#include <string>

#include "agent-api/agent.pb.h"

namespace rum {

// What the guest's ledger says of one script: the one place that decides whether a script has run.
struct ScriptVerdict {
  enum State {
    kNone,      // there is no script
    kHolds,     // its text is what ran last, to success (boot scripts: in this boot)
    kNeverRan,  // nothing of this kind ran to success, nor was this text tried
    kChanged,   // another text ran last
    kFailed,    // its text was tried and failed, or was interrupted or cancelled
    kRunning,   // it is going on now
  };
  State state = kNone;
  std::string content_hash;
  std::string ran_hash;           // of the text that ran to success last; empty: none did
  std::string run_id;             // of the run that goes on, else of the next one
  std::string last_run_id;        // of the last run of this kind; empty: there is none
  agent::ScriptRun last_failure;  // valid for kFailed, and for kChanged when the text was tried
};

// `kind`: "system" or "boot". A system script counts once for all boots, a boot script in each boot
// anew.
ScriptVerdict JudgeScript(const std::string& kind, const std::string& script,
                          const agent::Observation& guest);

// It ended by itself with status 0.
bool Succeeded(const agent::ScriptRun& run);
// It has an end, or will never have one.
bool IsOver(const agent::ScriptRun& run);
// Says of one that is over and did not succeed: "failed with exit status 3".
std::string FailureText(const agent::ScriptRun& run);

}  // namespace rum

#endif  // RUM_CONTROLLER_ASPECTS_SCRIPT_LEDGER_H_
