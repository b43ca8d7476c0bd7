#ifndef RUM_CONTROLLER_HYPERVISOR_RESOURCES_XML_H_
#define RUM_CONTROLLER_HYPERVISOR_RESOURCES_XML_H_

#include <pugixml.hpp>

#include "controller/hypervisor/domain_xml.h"
#include "controller/hypervisor/own_devices.h"

namespace rum {

// The vCPUs and the memory of a definition, and the room for more.

// Makes them as `parts` say; what is so already stays as somebody wrote it. `said`: as the
// definition was found.
void EditResources(pugi::xml_node domain, const DomainParts& parts, const OwnMetadata& said);

// Reads them over what the metadata said, which the XML confirms or not.
void ReadResources(pugi::xml_node domain, Resources* resources);
Room ReadRoom(pugi::xml_node domain);

// The device that adds memory to a running machine; none where there is no room for more.
pugi::xml_node OwnMemory(pugi::xml_node domain);

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_RESOURCES_XML_H_
