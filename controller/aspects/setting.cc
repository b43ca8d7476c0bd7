#include "controller/aspects/setting.h"

#include "absl/strings/str_cat.h"
#include "controller/aspects/worlds.h"
#include "controller/base/utf8.h"

namespace rum {
namespace {

constexpr char kOldAgent[] = "the agent in the guest is of an older rum, which cannot set it";

std::string OrNone(const std::string& value) { return value.empty() ? "none" : value; }

// A restart brings this rum's agent.
void WaitForAgent(const Scene& scene, const Setting& setting, Verdict* verdict) {
  Change& change = verdict->waiting.emplace_back();
  change.set_field(setting.field);
  change.set_after(setting.wanted);
  change.set_effect(RESTART);
  change.set_reason(kOldAgent);
  verdict
      ->Add(setting.field, Item::NEEDS_RESTART,
            MovedBy(scene, setting.field, setting.wanted, Item::FILE), "", setting.wanted,
            absl::StrCat("not known now, ", setting.wanted, " at the next start"))
      .item.set_reason(kOldAgent);
}

std::string LastName(const std::string& field) { return field.substr(field.rfind('.') + 1); }

}  // namespace

agent::Settings RequestFor(const std::string& field, const std::string& value) {
  agent::Settings request;
  const auto* setting = agent::Settings::descriptor()->FindFieldByName(LastName(field));
  if (setting != nullptr) request.GetReflection()->SetString(&request, setting, value);
  return request;
}

Verdict JudgeSetting(const Scene& scene, const Setting& setting) {
  Verdict verdict;
  const bool holds = setting.wanted.empty() || setting.now == setting.wanted;
  if (holds) {
    *verdict.seen.mutable_applied() = scene.desired;
    verdict.Know(absl::StrCat("applied.", setting.field));
    if (!setting.wanted.empty()) verdict.AddHolding(setting.field, setting.wanted);
    return verdict;
  }
  if (!setting.now.has_value()) {
    WaitForAgent(scene, setting, &verdict);
    return verdict;
  }
  const std::string before = OrNone(ToUtf8(*setting.now));
  Action::SetSetting* set = verdict.AddAction(setting.field)->mutable_set_setting();
  set->set_before(before);
  set->set_after(setting.wanted);
  verdict.AddCurable(
      setting.field, setting.field, MovedBy(scene, setting.field, setting.wanted, Item::GUEST),
      before, setting.wanted, absl::StrCat(before, " in the guest, ", setting.wanted, " wanted"),
      Outlook(scene, "set"));
  return verdict;
}

absl::Status ActOnSetting(const Action& action, const Worlds& worlds, Deed* deed) {
  const std::string name = LastName(action.field());
  if (worlds.agent == nullptr) return absl::UnavailableError(absl::StrCat(name, ": no agent"));
  const Action::SetSetting& set = action.set_setting();
  deed->message = absl::StrCat("Set ", name, " ", set.before(), " → ", set.after());
  return WithContext(name, worlds.agent->Set(RequestFor(action.field(), set.after())));
}

}  // namespace rum
