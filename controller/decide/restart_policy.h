#ifndef RUM_CONTROLLER_DECIDE_RESTART_POLICY_H_
#define RUM_CONTROLLER_DECIDE_RESTART_POLICY_H_

#include <cstdint>

#include "controller/hypervisor/hypervisor.h"
#include "state/record.pb.h"

namespace rum {

// What reconcile.restart makes of a machine that is wanted up and is not. Pure.

// Starts of one series; a machine that ran for kHealthyMs after one of them begins another series.
inline constexpr uint32_t kMostRestarts = 5;
inline constexpr int64_t kFirstPauseMs = 1000;  // before the first of them; doubled for each next
inline constexpr int64_t kLongestPauseMs = kFirstPauseMs << (kMostRestarts - 1);
inline constexpr int64_t kHealthyMs = 5 * 60 * 1000;

struct RestartVerdict {
  enum What {
    kNothing,  // it runs, or its ending is respected
    kWait,     // it is to be started at `due_ms`
    kStart,
    kGivenUp,  // it ended again after each of kMostRestarts starts
  };
  What what = kNothing;
  int64_t due_ms = 0;   // Unix time
  uint32_t number = 0;  // of the start in its series, from 1 on
};

// `controller_started`: this is the first look of a controller, perhaps after a host's reboot.
RestartVerdict JudgeRestart(const Config& desired, const MachineRecord& record,
                            const DomainState& domain, bool controller_started, int64_t now_ms);

// The start that `verdict` asked for is tried at `now_ms`.
void NoteRestart(const RestartVerdict& verdict, int64_t now_ms, MachineRecord* record);
// A command or another file begins anew. True: the record changed.
bool ForgetRestarts(MachineRecord* record);

}  // namespace rum

#endif  // RUM_CONTROLLER_DECIDE_RESTART_POLICY_H_
