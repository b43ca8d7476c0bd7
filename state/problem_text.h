#ifndef RUM_STATE_PROBLEM_TEXT_H_
#define RUM_STATE_PROBLEM_TEXT_H_

#include <string>

#include "state/toml_reader.h"

namespace rum {

// The compiler-like text of docs: "FILE:LINE:COL: error: MESSAGE", the source line and a marker,
// for each problem.
std::string RenderProblems(const std::string& display_path, const ParsedConfig& parsed);

}  // namespace rum

#endif  // RUM_STATE_PROBLEM_TEXT_H_
