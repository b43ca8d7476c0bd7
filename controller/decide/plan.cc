#include "controller/decide/plan.h"

#include <algorithm>

#include "controller/decide/drift.h"

namespace rum {
namespace {

void AddActions(const Judgement& judgement, bool first, Plan* plan) {
  for (size_t i = 0; i < judgement.verdicts.size(); ++i) {
    if (Aspects()[i].acts_first != first) continue;
    for (const Action& action : judgement.verdicts[i].actions) *plan->add_actions() = action;
  }
}

void LeaveFights(const MachineRecord& record, Plan* plan) {
  auto* const actions = plan->mutable_actions();
  actions->erase(std::remove_if(actions->begin(), actions->end(),
                                [&](const Action& a) { return IsFight(a.field(), record); }),
                 actions->end());
}

}  // namespace

Plan MakePlan(const Judgement& judgement, const MachineRecord& record, const PlanOptions& options) {
  Plan plan;
  AddActions(judgement, true, &plan);
  AddActions(judgement, false, &plan);
  for (const Verdict& verdict : judgement.verdicts) {
    plan.mutable_waiting()->Add(verdict.waiting.begin(), verdict.waiting.end());
    plan.mutable_at_start()->Add(verdict.at_start.begin(), verdict.at_start.end());
  }
  if (!options.retry_failed) LeaveFights(record, &plan);
  return plan;
}

Plan MakePlan(const Config& desired, const MachineRecord& record, const Observed& observed,
              const PlanOptions& options) {
  return MakePlan(Judge(desired, record, observed, options), record, options);
}

bool Settled(const Judgement& judgement) {
  return std::all_of(
      judgement.verdicts.begin(), judgement.verdicts.end(),
      [](const Verdict& verdict) { return verdict.actions.empty() && verdict.held_back.empty(); });
}

}  // namespace rum
