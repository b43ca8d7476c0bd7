#ifndef RUM_CLI_STATS_TEXT_H_
#define RUM_CLI_STATS_TEXT_H_

#include <string>

#include "cli/render.h"

namespace rum {

// Puts the rates since `before` into `now`. A counter that is smaller than it was (the machine was
// started again), a device that was not there, and a look at the same moment have none.
void AddRates(const control::StatsReply& before, control::StatsReply* now);

// A table with a row for each machine: rates where there are any, else what was counted since the
// start. Pure.
std::string RenderStats(const control::StatsReply& stats, const Style& style);

}  // namespace rum

#endif  // RUM_CLI_STATS_TEXT_H_
