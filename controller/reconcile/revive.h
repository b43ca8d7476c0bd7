#ifndef RUM_CONTROLLER_RECONCILE_REVIVE_H_
#define RUM_CONTROLLER_RECONCILE_REVIVE_H_

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "controller/reconcile/links.h"
#include "controller/reconcile/reconciler.h"
#include "state/state_store.h"

namespace rum {

struct Revival {
  bool tried = false;
  absl::Status status;  // of the start that was tried, or of the record that could not be kept
  absl::Time next = absl::InfiniteFuture();  // when the machine is to be started
};

// Starts a machine again that is not up, when reconcile.restart says so and its time has come. The
// count is in the record, on the disk, before it starts. `options`: its `now` and
// `controller_started`.
Revival Revive(MachineLinks& links, StateStore& store, const Config& desired,
               const Observed& observed, const ApplyOptions& options, const EventSink& sink,
               MachineRecord* record);

}  // namespace rum

#endif  // RUM_CONTROLLER_RECONCILE_REVIVE_H_
