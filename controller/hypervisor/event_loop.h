#ifndef RUM_CONTROLLER_HYPERVISOR_EVENT_LOOP_H_
#define RUM_CONTROLLER_HYPERVISOR_EVENT_LOOP_H_

#include "absl/status/status.h"

namespace rum {

// Readies libvirt for this process: errors are returned and not printed, and libvirt's event loop
// runs on a thread of its own for as long as the process lives. Call it before the first
// connection; again does nothing. Unavailable: there is no thread for it.
absl::Status StartLibvirtEventLoop();

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_EVENT_LOOP_H_
