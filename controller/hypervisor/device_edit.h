#ifndef RUM_CONTROLLER_HYPERVISOR_DEVICE_EDIT_H_
#define RUM_CONTROLLER_HYPERVISOR_DEVICE_EDIT_H_

#include <pugixml.hpp>
#include <set>
#include <string>

#include "controller/hypervisor/domain_xml.h"
#include "controller/hypervisor/own_devices.h"

namespace rum {

// Makes rum's devices of `domain` what `parts` say and touches no other. `said`: the metadata that
// `domain` had, by which devices without aliases are recognised. `fresh`: the domain is new, and
// gets what each machine begins with.
void EditDevices(pugi::xml_node domain, const DomainParts& parts, const OwnMetadata& said,
                 bool fresh);

// Adds the device by which the guest's kernel tells that it gave up, where the machine has a place
// for it and nothing of the kind.
void AddPanic(pugi::xml_node domain);

// The first name of a disk that is none of `taken`: "vdb" for "vd" and 1.
std::string FreeTargetName(const std::string& prefix, unsigned first,
                           const std::set<std::string>& taken);

// Gives a new q35 machine places for devices that are plugged in while it runs.
void AddPlugPorts(pugi::xml_node domain);

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_DEVICE_EDIT_H_
