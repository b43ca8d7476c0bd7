#ifndef RUM_AGENT_API_BUILD_ID_H_
#define RUM_AGENT_API_BUILD_ID_H_

#include <string>

namespace rum {

// The GNU build id of a 64-bit ELF program, as hex digits: the same for the same build, stripped or
// not. "": it has none, or is no such program.
std::string BuildIdOf(const std::string& path);

}  // namespace rum

#endif  // RUM_AGENT_API_BUILD_ID_H_
