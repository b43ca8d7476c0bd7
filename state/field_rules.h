#ifndef RUM_STATE_FIELD_RULES_H_
#define RUM_STATE_FIELD_RULES_H_

#include <google/protobuf/descriptor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace rum {

// What the value of a field must be, as far as the value alone decides it. Validate() asks for
// ranges and words here; the editor's schema (json_schema.h) has all of it.
struct FieldRule {
  uint64_t least = 0;
  uint64_t most = 0;               // 0: what the type holds
  std::string most_why;            // ", as no QEMU has more"
  std::vector<std::string> words;  // a text is one of them
  bool or_empty = false;           // an empty text is as none
  // Regular expressions that ECMA 262, Python and Rust read alike, and that never refuse what
  // Validate() takes: what a text has in it, and what it has not.
  std::string pattern;
  std::string refused;
  uint64_t most_characters = 0;  // 0: any number
  // What `pattern` says, in words. Validate() goes by the pattern where they are: of a short text
  // whose form is all that a host knows of it.
  std::string form;
};

// Returns that of a field of rum.toml; of one without, a rule that anything fulfils.
const FieldRule& RuleOf(const google::protobuf::FieldDescriptor& field);

// The same for a dotted path ("ports[1].host") that is one.
const FieldRule& RuleAt(const std::string& path);

inline constexpr char kMachineNamePattern[] = "^[a-zA-Z0-9][a-zA-Z0-9._-]*$";
inline constexpr uint64_t kMostDrives = 24;
inline constexpr uint64_t kMostName = 64;  // characters of the names of drives and networks

}  // namespace rum

#endif  // RUM_STATE_FIELD_RULES_H_
