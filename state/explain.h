#ifndef RUM_STATE_EXPLAIN_H_
#define RUM_STATE_EXPLAIN_H_

#include <string>

#include "absl/status/statusor.h"

namespace rum {

// What `rum explain` prints: the field, its type, default and meaning, and what a change costs and
// why; for a table all of its fields, for "" all of rum.toml. NotFound, with the nearest name, for
// what is not there.
absl::StatusOr<std::string> Explain(const std::string& field);

// "live", "live, opt-in", "restart", "recreate", "none".
std::string EffectName(int effect);

}  // namespace rum

#endif  // RUM_STATE_EXPLAIN_H_
