#ifndef RUM_CLI_DIFF_TEXT_H_
#define RUM_CLI_DIFF_TEXT_H_

#include <string>

#include "cli/render.h"
#include "cli/reports.pb.h"

namespace rum {

// What stands between a machine and its file, field by field: the plan of a dry run, seen from what
// it changes. Pure.
reports::DiffReport DiffOf(const Plan& plan);

// A line for each: "+" what comes, "-" what goes, "~" what changes, then what that costs.
std::string RenderDiff(const reports::DiffReport& diff, const Style& style);

}  // namespace rum

#endif  // RUM_CLI_DIFF_TEXT_H_
