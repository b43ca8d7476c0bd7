#ifndef RUM_AGENT_API_GUEST_CPUS_H_
#define RUM_AGENT_API_GUEST_CPUS_H_

#include <chrono>
#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace rum::guest {

// The guest's CPUs. One that was plugged into a running guest is there, but offline, where no rule
// of udev's brings it online. A kernel may use fewer than the machine has.
struct CpuCount {
  uint32_t online = 0;
  uint32_t there = 0;  // those, and the ones that can be brought online
};
// `system`: the kernel's folder, /sys/devices/system.
CpuCount CountCpus(const std::string& system);

// Makes so many CPUs online: the lowest numbers first, the highest go first, and never the one that
// the guest booted on. What was plugged just now may take the kernel a moment, which is waited for.
// Ok when it is so already; Aborted: the guest does not have so many.
absl::Status SetOnlineCpus(const std::string& system, uint32_t count,
                           std::chrono::milliseconds patience = std::chrono::seconds(5));

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_CPUS_H_
