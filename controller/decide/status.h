#ifndef RUM_CONTROLLER_DECIDE_STATUS_H_
#define RUM_CONTROLLER_DECIDE_STATUS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "controller/decide/plan.h"
#include "state/consent.h"

namespace rum {

// Holds, of the last reconcile, the errors of the actions that failed, by their field, and when it
// is tried again (Unix time, ms; 0: not by itself).
struct Failures {
  std::map<std::string, std::string> errors;
  int64_t next_try_ms = 0;
};

// The drift report, which is the union of what the verdicts of one look found: of each item whether
// it holds, and otherwise who moved it, since when, and what becomes of it. Pure; a converged
// machine gives only items that hold. `config_error`: the file's problems, when `desired` is the
// last good configuration instead. `now_ms` (Unix time) is the first sight of what the record does
// not know yet. `asks`: what was withheld from `desired`. What is among `failures` is failing, with
// its error and its next try.
MachineStatus MakeStatus(const Config& desired, const MachineRecord& record,
                         const Observed& observed, const Judgement& judgement, int64_t now_ms,
                         const std::string& config_error = "", const std::vector<Ask>& asks = {},
                         const Failures& failures = {});
MachineStatus MakeStatus(const Config& desired, const MachineRecord& record,
                         const Observed& observed, int64_t now_ms,
                         const std::string& config_error = "", const std::vector<Ask>& asks = {},
                         const Failures& failures = {});

// Whether somebody who has seen `a` learns anything from `b`. Traffic is nothing to learn.
bool SameReport(const MachineStatus& a, const MachineStatus& b);

}  // namespace rum

#endif  // RUM_CONTROLLER_DECIDE_STATUS_H_
