#ifndef RUM_STATE_DIFF_H_
#define RUM_STATE_DIFF_H_

#include <string>
#include <vector>

#include "state/config.pb.h"

namespace rum {

// One difference between two configurations, as a person would name it.
struct FieldChange {
  std::string field;   // "resources.memory_mb", "ports[127.0.0.1:8080]", "user.groups[docker]",
                       // "drives.data.size"
  std::string before;  // as rum.toml would say it; empty: absent
  std::string after;
  Effect effect = RESTART;
  std::string reason;  // of the effect
};

// What changed from `before` to `after`, in the order of the schema. Lists with a key are maps or
// sets: order means nothing there. Some changes cost more than their field says: a smaller disk or
// drive is RECREATE.
std::vector<FieldChange> Diff(const Config& before, const Config& after);

// The effect and the reason of a field by its dotted path ("user.groups"); RESTART for one without
// an annotation.
Effect EffectOf(const std::string& field);
std::string ReasonOf(const std::string& field);
// Says within what it is live all the same; see config.proto. Empty: nowhere.
std::string RoomOf(const std::string& field);
// The command that brings a RECREATE change of `field`. A drive is kept by all others.
std::string RecreateCommand(const std::string& field);

}  // namespace rum

#endif  // RUM_STATE_DIFF_H_
