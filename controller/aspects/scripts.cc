#include <string>

#include "absl/strings/str_cat.h"
#include "controller/aspects/aspects.h"
#include "controller/aspects/script_action.h"
#include "controller/aspects/script_ledger.h"
#include "controller/aspects/worlds.h"

namespace rum {
namespace {

constexpr char kProvision[] = "provision";
constexpr char kSystemField[] = "provision.system.script";
constexpr char kBootField[] = "provision.boot.script";

std::string ShortHash(const std::string& hash) { return hash.substr(0, 12); }

class ScriptsJudge {
 public:
  explicit ScriptsJudge(const Scene& scene) : scene_(scene), guest_(*scene.observed.guest) {}

  Verdict Run() {
    JudgeSystem();
    JudgeBoot();
    // The two messages are one on the wire.
    for (const agent::ScriptRun& run : guest_.runs()) {
      verdict_.seen.add_runs()->ParseFromString(run.SerializeAsString());
    }
    verdict_.Know("runs");
    return std::move(verdict_);
  }

 private:
  void JudgeSystem() {
    const PlanOptions& options = scene_.options;
    const std::string& script = scene_.desired.provision().system().script();
    const ScriptVerdict judged = JudgeScript("system", script, guest_);
    AddItem("system", kSystemField, judged);
    if (judged.state == ScriptVerdict::kHolds) {
      Provision* applied = verdict_.seen.mutable_applied()->mutable_provision();
      applied->mutable_system()->set_script(script);
      verdict_.Know("applied.provision.system.script");
    }
    const bool asked = options.force_system_script || options.rerun_system;
    if (judged.state == ScriptVerdict::kChanged && !asked) return WaitForWord(judged);
    const bool added = AddRun("system", kSystemField, script, judged, options.rerun_system);
    // What never ran to success comes before the boot script.
    system_missing_ = !added && (judged.state == ScriptVerdict::kFailed ||
                                 judged.state == ScriptVerdict::kNeverRan);
  }

  void JudgeBoot() {
    const std::string& script = scene_.desired.provision().boot().script();
    const ScriptVerdict judged = JudgeScript("boot", script, guest_);
    AddItem("boot", kBootField, judged);
    if (script.empty() || judged.state == ScriptVerdict::kHolds) {
      Provision* applied = verdict_.seen.mutable_applied()->mutable_provision();
      if (!script.empty()) applied->mutable_boot()->set_script(script);
      verdict_.Know("applied.provision.boot");
    }
    if (script.empty() && !guest_.boot_script_hash().empty()) {
      verdict_.AddAction(kBootField)->mutable_forget_boot_script();
    }
    if (system_missing_) return;
    AddRun("boot", kBootField, script, judged, scene_.options.rerun_boot);
  }

  void WaitForWord(const ScriptVerdict& judged) {
    Change& waiting = verdict_.waiting.emplace_back();
    waiting.set_field(kSystemField);
    waiting.set_before(ShortHash(judged.ran_hash));
    waiting.set_after(ShortHash(judged.content_hash));
    waiting.set_effect(LIVE_OPT_IN);
    waiting.set_reason(ReasonOf(kSystemField));
  }

  // False: it is not to run now.
  bool AddRun(const std::string& kind, const std::string& field, const std::string& script,
              const ScriptVerdict& judged, bool rerun) {
    if (judged.state == ScriptVerdict::kNone) return false;
    if (judged.state == ScriptVerdict::kHolds && !rerun) return false;
    Action action;
    action.set_field(field);
    Action::RunScript* run = action.mutable_run_script();
    run->set_kind(kind);
    run->set_script(script);
    run->set_content_hash(judged.content_hash);
    run->set_rerun(!judged.ran_hash.empty());
    run->set_run_id(judged.run_id);
    run->set_last_run_id(judged.last_run_id);
    run->set_timeout_s(static_cast<uint32_t>(scene_.desired.provision().timeout_s()));
    const bool left = judged.state == ScriptVerdict::kFailed && !scene_.options.retry_failed;
    (left ? verdict_.held_back : verdict_.actions).push_back(action);
    return !left;
  }

  void AddItem(const std::string& kind, const std::string& field, const ScriptVerdict& judged) {
    const std::string wanted = ShortHash(judged.content_hash);
    const auto author = [&] { return MovedBy(scene_, field, wanted, Item::GUEST); };
    switch (judged.state) {
      case ScriptVerdict::kNone:
        return;
      case ScriptVerdict::kHolds:
        verdict_.AddHolding(field, kind == "boot" ? "ran in this boot" : "ran");
        return;
      case ScriptVerdict::kRunning:
        verdict_.AddCurable(field, field, author(), "running", wanted, "is running", "");
        return;
      case ScriptVerdict::kFailed:
        verdict_.Add(field, Item::FAILING, Item::NOBODY, FailureText(judged.last_failure), wanted,
                     FailureText(judged.last_failure), "`rum apply` tries again");
        return;
      case ScriptVerdict::kNeverRan:
        // A guest that booted again moved it, when the file did not.
        verdict_.AddCurable(field, field, author(), "", wanted, "has not run",
                            Outlook(scene_, "run"));
        return;
      case ScriptVerdict::kChanged:
        AddChanged(kind, field, judged);
        return;
    }
  }

  void AddChanged(const std::string& kind, const std::string& field, const ScriptVerdict& judged) {
    const std::string ran = ShortHash(judged.ran_hash);
    const std::string wanted = ShortHash(judged.content_hash);
    if (kind == "boot") {
      verdict_.AddCurable(field, field, Item::FILE, ran, wanted, "changed",
                          Outlook(scene_, "run again"));
      return;
    }
    const bool tried = !judged.last_failure.run_id().empty();
    verdict_
        .Add(field, Item::OPT_IN, Item::FILE, ran, wanted,
             tried ? FailureText(judged.last_failure) : "changed since it ran",
             "`rum reload --force` runs it again")
        .item.set_reason(ReasonOf(field));
  }

  const Scene& scene_;
  const agent::Observation& guest_;
  bool system_missing_ = false;
  Verdict verdict_;
};

Verdict JudgeScripts(const Scene& scene) {
  return scene.observed.guest.has_value() ? ScriptsJudge(scene).Run() : Verdict();
}

absl::Status ActOnScripts(const Action& action, const Worlds& worlds, Deed* deed) {
  if (action.has_run_script()) return RunScript(action.run_script(), worlds, deed);
  if (worlds.agent == nullptr) return absl::UnavailableError("script: no agent");
  deed->message = "Took the boot provisioning script back";
  return WithContext("boot script", worlds.agent->SetBootScript({}));
}

}  // namespace

Aspect ScriptsAspect() {
  return {.name = kProvision,
          .fields = {kSystemField, kBootField},
          .known_by = Item::GUEST,
          .judge = JudgeScripts,
          .act = ActOnScripts};
}

}  // namespace rum
