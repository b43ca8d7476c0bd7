#ifndef RUM_STATE_JSON_SCHEMA_H_
#define RUM_STATE_JSON_SCHEMA_H_

#include <string>

namespace rum {

// The schema of rum.toml as a JSON Schema (draft 4, which taplo and with it most editors take for
// TOML), from the descriptor and the rules of its fields: types, ranges, patterns, words, defaults,
// what is required, and as documentation what `rum explain` says. It never refuses a file that
// ReadToml() takes; of two values that do not go together it knows only the simplest cases.
std::string JsonSchema();

}  // namespace rum

#endif  // RUM_STATE_JSON_SCHEMA_H_
