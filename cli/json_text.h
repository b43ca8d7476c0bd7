#ifndef RUM_CLI_JSON_TEXT_H_
#define RUM_CLI_JSON_TEXT_H_

#include <google/protobuf/message.h>

#include <string>

namespace rum {

// The version of all that `-o json` prints: it counts up when a name goes or changes its meaning,
// not when one comes. docs/json.md says what is promised.
inline constexpr int kJsonVersion = 1;

// A message as `-o json` prints it: all its fields by their protobuf JSON names, whether they have
// their default or not, with `version` before them. Numbers are numbers; what is not known or not
// said is null; a time in ms since 1970 also stands in ISO 8601 under its name without "Ms"; bytes
// are base64. ASCII only, so that no terminal is moved by a text of others.
std::string ToJson(const google::protobuf::Message& message);
// Writes it in one line, for a command that prints several of them, which together are JSON Lines.
std::string ToJsonLine(const google::protobuf::Message& message);
inline std::string ToJson(const google::protobuf::Message& message, bool line) {
  return line ? ToJsonLine(message) : ToJson(message);
}

}  // namespace rum

#endif  // RUM_CLI_JSON_TEXT_H_
