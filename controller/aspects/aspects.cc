#include "controller/aspects/aspects.h"

#include <atomic>

#include "state/item_name.h"

namespace rum {
namespace {

std::atomic<int64_t> judgement_count{0};

}  // namespace

const std::vector<Aspect>& Aspects() {
  static const auto* const aspects = new std::vector<Aspect>{
      PortsAspect(), AgentAspect(),   HostnameAspect(), GroupsAspect(),     CardsAspect(),
      KeysAspect(),  StorageAspect(), TimezoneAspect(), DefinitionAspect(), ScriptsAspect(),
  };
  return *aspects;
}

const Aspect* AspectOf(const std::string& action_field) {
  for (const Aspect& aspect : Aspects()) {
    if (aspect.act != nullptr && IsWithin(action_field, aspect.name)) return &aspect;
  }
  return nullptr;
}

Judgement Judge(const Config& desired, const MachineRecord& record, const Observed& observed,
                const PlanOptions& options) {
  ++judgement_count;
  const Scene scene(desired, record, observed, options);
  Judgement judgement;
  for (const Aspect& aspect : Aspects()) {
    Verdict& verdict = judgement.verdicts.emplace_back(aspect.judge(scene));
    for (Finding& finding : verdict.findings) finding.item.set_known_by(aspect.known_by);
  }
  return judgement;
}

int64_t JudgementCount() { return judgement_count; }

}  // namespace rum
