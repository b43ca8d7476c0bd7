#include "controller/aspects/aspects.h"
#include "controller/aspects/setting.h"

namespace rum {
namespace {

constexpr char kTimezone[] = "guest.timezone";

Verdict JudgeTimezone(const Scene& scene) {
  if (!scene.observed.guest.has_value()) return Verdict();
  const agent::Settings& told = scene.observed.guest->settings();
  Setting setting{.field = kTimezone, .wanted = scene.desired.guest().timezone()};
  if (told.has_timezone()) setting.now = told.timezone();
  return JudgeSetting(scene, setting);
}

}  // namespace

Aspect TimezoneAspect() {
  return {.name = kTimezone,
          .fields = {kTimezone},
          .known_by = Item::GUEST,
          .judge = JudgeTimezone,
          .act = ActOnSetting};
}

}  // namespace rum
