#ifndef RUM_CONTROLLER_RECONCILE_EXECUTOR_H_
#define RUM_CONTROLLER_RECONCILE_EXECUTOR_H_

#include "controller/aspects/plan.pb.h"
#include "controller/aspects/worlds.h"

namespace rum {

struct Execution {
  ActionResult result;
  absl::Status status;       // its code decides retry
  bool interrupted = false;  // a script, by its guest that went down
};

// Makes the state true that `action` names, by the aspect that it is of. Doing it twice does no
// more than once.
Execution Execute(const Action& action, const Worlds& worlds);

}  // namespace rum

#endif  // RUM_CONTROLLER_RECONCILE_EXECUTOR_H_
