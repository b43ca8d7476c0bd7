#ifndef RUM_TESTS_CONTROLLER_MODEL_H_
#define RUM_TESTS_CONTROLLER_MODEL_H_

#include <string>
#include <vector>

#include "controller/decide/plan.h"

namespace rum {

// A machine as a value: the three states that a plan is made of, and what each action makes of
// them.
struct Model {
  Config desired;
  MachineRecord record;
  Observed observed;

  Plan MakePlan(const PlanOptions& options = PlanOptions()) const;
  MachineStatus Status(int64_t now_ms = 1) const;
  bool NoteObserved(bool converged, int64_t now_ms);
  // Does what `plan` says, as a world would in which nothing fails.
  void Apply(const Plan& plan);
  void Apply(const Action& action);

 private:
  void Define();
  void ChangeDisk(const Action::ChangeDisk& change);
  void ChangeCard(const std::string& card, const Network& wanted);
  void ChangeFolder(const Action::ChangeFolder& change);
  void SetMount(const std::string& tag, const Mount* mount);
};

// A whole valid configuration: two ports, two groups, both scripts.
Config SampleConfig();

// A running machine that is as `desired` wants it.
Model Converged(const Config& desired);

// A run of `script` that ended with `exit_status`.
agent::ScriptRun EndedRun(const std::string& kind, const std::string& script,
                          const std::string& boot_id, int exit_status);

// "domain: define", "ports +3000→3000 -5432→5432", one for each action.
std::vector<std::string> Names(const Plan& plan);
// "resources.memory_mb 1024 → 2048 RESTART", one for each that waits.
std::vector<std::string> Waiting(const Plan& plan);

}  // namespace rum

#endif  // RUM_TESTS_CONTROLLER_MODEL_H_
