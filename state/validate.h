#ifndef RUM_STATE_VALIDATE_H_
#define RUM_STATE_VALIDATE_H_

#include <vector>

#include "state/toml_reader.h"

namespace rum {

// Every problem of a configuration whose types are right and whose paths are resolved; `sources`
// gives them a place.
std::vector<Problem> Validate(const Config& config, const SourceMap& sources);

bool IsHostname(const std::string& text);  // RFC 1123 section 2.1
bool IsUserName(const std::string& text);  // as useradd(8) takes it
bool IsMachineName(const std::string& text);

}  // namespace rum

#endif  // RUM_STATE_VALIDATE_H_
