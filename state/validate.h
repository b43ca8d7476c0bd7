#ifndef RUM_STATE_VALIDATE_H_
#define RUM_STATE_VALIDATE_H_

#include <vector>

#include "state/toml_reader.h"

namespace rum {

// Every problem of a configuration whose types are right and whose paths are resolved; `sources`
// gives them a place.
std::vector<Problem> Validate(const Config& config, const SourceMap& sources);

}  // namespace rum

#endif  // RUM_STATE_VALIDATE_H_
