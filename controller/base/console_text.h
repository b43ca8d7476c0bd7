#ifndef RUM_CONTROLLER_BASE_CONSOLE_TEXT_H_
#define RUM_CONTROLLER_BASE_CONSOLE_TEXT_H_

#include <string>

namespace rum {

// The last `count` lines of what a console said that have anything in them, without what moves a
// terminal's cursor or colours it; each with its end. Pure.
std::string LastConsoleLines(const std::string& bytes, size_t count);

}  // namespace rum

#endif  // RUM_CONTROLLER_BASE_CONSOLE_TEXT_H_
