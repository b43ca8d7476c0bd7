#include "controller/reconcile/executor.h"

#include <string>

#include "agent-api/steady_now.h"
#include "controller/aspects/aspects.h"

namespace rum {

Execution Execute(const Action& action, const Worlds& worlds) {
  Execution execution;
  ActionResult& result = execution.result;
  *result.mutable_action() = action;
  Deed deed;
  const absl::Time begin = SteadyNow();
  const Aspect* const aspect = AspectOf(action.field());
  execution.status = aspect == nullptr ? absl::InvalidArgumentError("an action of no aspect")
                                       : aspect->act(action, worlds, &deed);
  result.set_duration_ms(absl::ToInt64Milliseconds(SteadyNow() - begin));
  result.set_ok(execution.status.ok());
  result.set_message(execution.status.ok() ? deed.message
                                           : std::string(execution.status.message()));
  result.set_output_tail(deed.output_tail);
  execution.interrupted = deed.interrupted;
  return execution;
}

}  // namespace rum
