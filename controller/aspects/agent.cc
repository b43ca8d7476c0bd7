#include <string>

#include "controller/aspects/aspects.h"

namespace rum {
namespace {

// A restart brings the agent of this rum's seed, whichever is there now.
Verdict JudgeAgent(const Scene& scene) {
  Verdict verdict;
  if (!scene.observed.guest.has_value()) return verdict;
  const std::string& why = scene.observed.guest->not_replaced();
  if (why.empty()) return verdict;
  verdict.Add("agent", Item::NEEDS_RESTART, Item::GUEST, "another build", "rum's own", why);
  return verdict;
}

}  // namespace

Aspect AgentAspect() {
  return {.name = "agent", .fields = {}, .known_by = Item::GUEST, .judge = JudgeAgent};
}

}  // namespace rum
