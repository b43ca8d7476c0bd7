#ifndef RUM_CONTROLLER_DECIDE_PLAN_H_
#define RUM_CONTROLLER_DECIDE_PLAN_H_

#include "controller/aspects/aspects.h"
#include "controller/aspects/observed.h"
#include "controller/aspects/plan.pb.h"
#include "state/record.pb.h"

namespace rum {

// The union of what the verdicts of one look would do and leave. Pure; a converged machine gives an
// empty one. Guest actions follow from `observed.guest`; without an agent there are none, and after
// a start the reconciler observes and judges again.
Plan MakePlan(const Judgement& judgement, const MachineRecord& record, const PlanOptions& options);
Plan MakePlan(const Config& desired, const MachineRecord& record, const Observed& observed,
              const PlanOptions& options);

// Whether no action is left, also none that the loop would not take by itself.
bool Settled(const Judgement& judgement);

}  // namespace rum

#endif  // RUM_CONTROLLER_DECIDE_PLAN_H_
