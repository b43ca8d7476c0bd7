#ifndef RUM_CONTROLLER_ASPECTS_ASPECTS_H_
#define RUM_CONTROLLER_ASPECTS_ASPECTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "controller/aspects/aspect.h"

namespace rum {

// How a change of `scene.now_changes` goes on this machine: as its aspect finds, or as its option
// says; never live where the user does not want that (`--no-live`, reconcile.live = false).
Way WayOf(const Scene& scene, const FieldChange& change);
// Whether that is live.
bool GoesLive(const Scene& scene, const FieldChange& change);
// Whether the walk over the definition reports that field, so that no aspect has to.
bool IsReportedByDefinition(const Scene& scene, const std::string& field);

// Lists them in the order of the report, which is that of their actions as well.
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
Aspect DisksAspect();
Aspect MountsAspect();
Aspect StorageAspect();
Aspect TimezoneAspect();
Aspect DefinitionAspect();
Aspect MemoryAspect();
Aspect CpusAspect();
Aspect ScriptsAspect();

}  // namespace rum

#endif  // RUM_CONTROLLER_ASPECTS_ASPECTS_H_
