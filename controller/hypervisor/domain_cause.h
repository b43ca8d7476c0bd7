#ifndef RUM_CONTROLLER_HYPERVISOR_DOMAIN_CAUSE_H_
#define RUM_CONTROLLER_HYPERVISOR_DOMAIN_CAUSE_H_

#include "controller/hypervisor/hypervisor.h"

namespace rum {

// What libvirt's virDomainState and the reason that belongs to it mean. `has_saved_memory`: of one
// that is off, libvirt has a file with its memory.
DomainCause CauseOf(int state, int reason, bool has_saved_memory);

// Whether one that is on stands still until somebody goes on with it: not while libvirt itself
// holds it for a moment, as for a snapshot.
bool NeedsSomebody(DomainCause cause);

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_DOMAIN_CAUSE_H_
