#ifndef RUM_AGENT_API_GUEST_MEMORY_H_
#define RUM_AGENT_API_GUEST_MEMORY_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace rum::guest {

// The guest's memory, in KiB.
struct MemoryUse {
  uint64_t total = 0;      // that the kernel has
  uint64_t available = 0;  // of it, without swapping
};
// `meminfo`: as /proc/meminfo, see proc(5).
MemoryUse ReadMemoryUse(const std::string& meminfo);

// `system`: the kernel's folder, /sys/devices/system. Memory that was plugged into a running guest
// is there, but offline, where neither the kernel nor a rule of udev's brings it online.
uint64_t OfflineMemoryKib(const std::string& system);

// Has the kernel bring online what is plugged from now on, in such a way that it can be taken back,
// and brings online what is there. Ok where a kernel knows nothing of this.
absl::Status BringMemoryOnline(const std::string& system);

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_MEMORY_H_
