#ifndef RUM_CLI_MARK_H_
#define RUM_CLI_MARK_H_

#include <string>

#include "cli/render.h"

namespace rum {

// What a line is about, at its front: a sign and its colour.
enum class Mark { kDone, kWillApply, kNeedsYou, kFailed };

std::string Marked(Mark mark, const Style& style);

}  // namespace rum

#endif  // RUM_CLI_MARK_H_
