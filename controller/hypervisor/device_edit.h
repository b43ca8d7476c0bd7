#ifndef RUM_CONTROLLER_HYPERVISOR_DEVICE_EDIT_H_
#define RUM_CONTROLLER_HYPERVISOR_DEVICE_EDIT_H_

#include <pugixml.hpp>

#include "controller/hypervisor/domain_xml.h"
#include "controller/hypervisor/own_devices.h"

namespace rum {

// Makes rum's devices of `domain` what `parts` say and touches no other. `said`: the metadata that
// `domain` had, by which devices without aliases are recognised. `fresh`: the domain is new, and
// gets what each machine begins with.
void EditDevices(pugi::xml_node domain, const DomainParts& parts, const OwnMetadata& said,
                 bool fresh);

// By which the guest's kernel tells that it gave up, where the machine has a place for it and
// nothing of the kind.
void AddPanic(pugi::xml_node domain);

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_DEVICE_EDIT_H_
