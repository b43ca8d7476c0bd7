#include "controller/aspects/aspects.h"

#include <atomic>

#include "state/item_name.h"

namespace rum {
namespace {

std::atomic<int64_t> judgement_count{0};

}  // namespace

const std::vector<Aspect>& Aspects() {
  static const auto* const aspects = new std::vector<Aspect>{
      PortsAspect(),      AgentAspect(),  HostnameAspect(), GroupsAspect(),  CardsAspect(),
      KeysAspect(),       DisksAspect(),  StorageAspect(),  MountsAspect(),  TimezoneAspect(),
      DefinitionAspect(), MemoryAspect(), CpusAspect(),     ScriptsAspect(),
  };
  return *aspects;
}

const Aspect* AspectOf(const std::string& action_field) {
  for (const Aspect& aspect : Aspects()) {
    if (aspect.act != nullptr && IsWithin(action_field, aspect.name)) return &aspect;
  }
  return nullptr;
}

Way WayOf(const Scene& scene, const FieldChange& change) {
  const Way restart = {Way::kRestart, change.reason};
  if (!scene.observed.domain.running || change.effect != RESTART) return restart;
  for (const Aspect& aspect : Aspects()) {
    if (aspect.way == nullptr) continue;
    const std::optional<Way> way = aspect.way(scene, change);
    if (!way.has_value()) continue;
    const bool wanted = scene.options.live && scene.desired.reconcile().live();
    return way->what == Way::kLive && !wanted ? restart : *way;
  }
  return restart;
}

bool GoesLive(const Scene& scene, const FieldChange& change) {
  return WayOf(scene, change).what == Way::kLive;
}

bool IsReportedByDefinition(const Scene& scene, const std::string& field) {
  const FieldChange* const now = FindChange(scene.now_changes, field);
  const Way::What way = now == nullptr ? Way::kApart : WayOf(scene, *now).what;
  if (way == Way::kRestart) return true;
  return way == Way::kApart && FindChange(scene.next_changes, field) != nullptr;
}

Judgement Judge(const Config& desired, const MachineRecord& record, const Observed& observed,
                const PlanOptions& options) {
  ++judgement_count;
  const Scene scene(desired, record, observed, options);
  Judgement judgement;
  for (const Aspect& aspect : Aspects()) {
    Verdict& verdict = judgement.verdicts.emplace_back(aspect.judge(scene));
    for (Finding& finding : verdict.findings) {
      if (finding.item.known_by() == Item::NOBODY) finding.item.set_known_by(aspect.known_by);
    }
  }
  return judgement;
}

int64_t JudgementCount() { return judgement_count; }

}  // namespace rum
