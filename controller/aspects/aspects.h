#ifndef RUM_CONTROLLER_ASPECTS_ASPECTS_H_
#define RUM_CONTROLLER_ASPECTS_ASPECTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "controller/aspects/aspect.h"

namespace rum {

// In the order of the report, which is that of their actions as well.
const std::vector<Aspect>& Aspects();

// The one whose actions are called `action_field`; null: there is none.
const Aspect* AspectOf(const std::string& action_field);

// What one look at a machine means: a verdict of each aspect, in their order.
struct Judgement {
  std::vector<Verdict> verdicts;
};

// Pure: equal arguments give an equal judgement.
Judgement Judge(const Config& desired, const MachineRecord& record, const Observed& observed,
                const PlanOptions& options);

// How many there were in this process: one for each look, which a test counts.
int64_t JudgementCount();

// Each in a file of its own.
Aspect PortsAspect();
Aspect AgentAspect();
Aspect HostnameAspect();
Aspect GroupsAspect();
Aspect CardsAspect();
Aspect KeysAspect();
Aspect StorageAspect();
Aspect TimezoneAspect();
Aspect DefinitionAspect();
Aspect ScriptsAspect();

}  // namespace rum

#endif  // RUM_CONTROLLER_ASPECTS_ASPECTS_H_
