#ifndef RUM_CONTROLLER_GUESTS_CONFINE_H_
#define RUM_CONTROLLER_GUESTS_CONFINE_H_

#include <cstddef>
#include <string>

namespace rum {

// What a guest's process may have: docs/security.md has these. Beyond what it began with, which is
// shared with the others.
inline constexpr size_t kMostProcessMemory = 256 << 20;
inline constexpr size_t kMostProcessDescriptors = 16384;

// Takes everything from this process, which has one thread, but what it needs to carry bytes
// between the descriptors that it has and is given: it can open, connect, start and signal nothing
// any more, and has so much memory and so many descriptors. "": done; else why not. In a
// sanitizer's build, which maps terabytes and opens what it likes, memory and system calls are as
// they were.
std::string Confine();

// Whether this build confines as users' does.
bool ConfinesSystemCalls();

}  // namespace rum

#endif  // RUM_CONTROLLER_GUESTS_CONFINE_H_
