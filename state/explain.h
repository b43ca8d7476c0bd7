#ifndef RUM_STATE_EXPLAIN_H_
#define RUM_STATE_EXPLAIN_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "state/schema.h"

namespace rum {

// What is said of a field that holds a value.
struct FieldText {
  std::string path;          // "ports[].host", "drives.NAME.size", "fs.TYPE[].target"
  std::string type;          // "integer"
  std::string otherwise;     // "default 20G", "no default", "required unless auto"
  std::string about;         // may be empty
  std::string reaches_host;  // what of the host it reaches; empty: nothing
  std::string effect;        // of a change, with its reason
};

// All fields of rum.toml, in the order of the schema.
std::vector<FieldText> FieldTexts();

// What `rum explain` prints: the field, its type, default and meaning, and what a change costs and
// why; for a table all of its fields, for "" all of rum.toml. NotFound, with the nearest name, for
// what is not there.
absl::StatusOr<std::string> Explain(const std::string& field);

// "live", "live, opt-in", "restart", "recreate", "none".
std::string EffectName(int effect);
// The same with its room and its reason: "live within room (up to …), else restart — …".
std::string EffectText(const FieldMeaning& meaning);

}  // namespace rum

#endif  // RUM_STATE_EXPLAIN_H_
