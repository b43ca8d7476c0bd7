#ifndef RUM_CONTROLLER_ASPECTS_SETTING_H_
#define RUM_CONTROLLER_ASPECTS_SETTING_H_

#include <optional>
#include <string>

#include "controller/aspects/aspect.h"

namespace rum {

// A field of the file that the guest has one value of (agent::Settings): what aspects of such
// fields share.
struct Setting {
  std::string field;               // "guest.timezone"
  std::string wanted;              // empty: the file does not say, and it is not rum's
  std::optional<std::string> now;  // nullopt: the agent is too old to know of it
};

// What the guest is asked to make `field` that value: the setting has the field's last name.
agent::Settings RequestFor(const std::string& field, const std::string& value);

// Judges by a guest that is there.
Verdict JudgeSetting(const Scene& scene, const Setting& setting);

absl::Status ActOnSetting(const Action& action, const Worlds& worlds, Deed* deed);

}  // namespace rum

#endif  // RUM_CONTROLLER_ASPECTS_SETTING_H_
