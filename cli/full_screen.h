#ifndef RUM_CLI_FULL_SCREEN_H_
#define RUM_CLI_FULL_SCREEN_H_

#include <string>

#include "cli/commands.h"

namespace rum {

// Whether standard output is a terminal on which a picture may be drawn anew: one that can, and
// nobody who would hear all of it again.
bool CanRedraw(const Globals& globals);

// Draws the text in the place of all that is on the terminal of standard output.
void DrawScreen(const std::string& text, const Globals& globals);

}  // namespace rum

#endif  // RUM_CLI_FULL_SCREEN_H_
