#ifndef RUM_CONTROLLER_HYPERVISOR_HOST_LOOK_H_
#define RUM_CONTROLLER_HYPERVISOR_HOST_LOOK_H_

#include <string>

#include "controller/hypervisor/host_look.pb.h"

namespace rum {

// What a libvirt says of itself and of what machines need there; changes nothing. Takes as long as
// libvirt does, which may be for ever.
control::LibvirtLook LookAtLibvirt(const std::string& uri);

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_HOST_LOOK_H_
