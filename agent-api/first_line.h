#ifndef RUM_AGENT_API_FIRST_LINE_H_
#define RUM_AGENT_API_FIRST_LINE_H_

#include <string>

namespace rum {

// Returns the first line of `text` without its end.
inline std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace rum

#endif  // RUM_AGENT_API_FIRST_LINE_H_
