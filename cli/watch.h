#ifndef RUM_CLI_WATCH_H_
#define RUM_CLI_WATCH_H_

#include <grpc/support/time.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cli/apply_stream.h"

namespace rum {

// Hears what the controller tells of a machine, until `hear` returns false, `deadline` has passed
// or `interrupts` (may be null) had one. A controller that ends meanwhile, as in an upgrade, is
// followed by its successor. Ok: `hear` had enough, or an interrupt came.
grpc::Status Hear(const control::WatchRequest& request, MachineClient* client,
                  gpr_timespec deadline, Interrupts* interrupts,
                  const std::function<bool(const control::WatchEvent&)>& hear);

// `rum status --watch`: on a terminal one picture that is drawn anew when something changes, with
// the last events; in a pipe each new report.
void WatchStatus(MachineClient* client, Globals* globals);

// `rum status --wait`: until `condition` holds for the files of all `clients` as they are now, at
// the same time. Exit status 1 after `timeout`, with what is waited for.
void WaitForCondition(const std::string& condition, std::chrono::milliseconds timeout,
                      std::vector<std::unique_ptr<MachineClient>>* clients, Globals* globals);

// `rum log --events`: the machine's history, and with `follow` what comes.
void ShowEvents(bool follow, Globals* globals);
// The same of what comes only, until an interrupt: for an attached `rum up`.
void FollowEvents(MachineClient* client, Interrupts* interrupts, const Globals& globals);

}  // namespace rum

#endif  // RUM_CLI_WATCH_H_
