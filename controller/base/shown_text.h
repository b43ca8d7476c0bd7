#ifndef RUM_CONTROLLER_BASE_SHOWN_TEXT_H_
#define RUM_CONTROLLER_BASE_SHOWN_TEXT_H_

#include <string>

namespace rum {

// Text of files, guests and libvirt as a terminal or a reader of the log may see it. What could
// move a cursor, change colours or turn the order of letters round is spelled out: \x1b, \u202e.
// Bytes that are not UTF-8 are \xff; without UTF-8 our own arrows become "->" and all else \u00e9.
std::string OneLine(const std::string& text, bool utf8);  // line ends are spelled out too
std::string Lines(const std::string& text, bool utf8);    // keeps line ends and tabs

}  // namespace rum

#endif  // RUM_CONTROLLER_BASE_SHOWN_TEXT_H_
