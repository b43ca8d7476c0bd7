#ifndef RUM_TESTS_CONTROLLER_HYPERVISOR_DEFINITIONS_H_
#define RUM_TESTS_CONTROLLER_HYPERVISOR_DEFINITIONS_H_

#include <pugixml.hpp>
#include <string>
#include <vector>

#include "controller/hypervisor/domain_xml.h"

namespace rum {

// The machine of testdata/*.xml, as its rum.toml says it; the disks are a system libvirt's.
DomainParts ShopParts();
// A file of testdata: what libvirt 9.0 gave back (dumpxml --inactive --security-info) of
//   rum_without_aliases.xml  what rum wrote before it gave its devices aliases
//   rum_without_panic.xml    what rum wrote before it gave machines a panic device
//   rum.xml                  what rum writes now
//   virt_manager.xml         rum_without_aliases.xml after an hour with virt-manager and virsh edit
std::string Definition(const std::string& name);

// The text or attribute at an XPath, "" when it is not there.
std::string At(const std::string& xml, const std::string& path);
// All elements at an XPath, each as text, in order.
std::vector<std::string> ElementsAt(const std::string& xml, const std::string& path);

}  // namespace rum

#endif  // RUM_TESTS_CONTROLLER_HYPERVISOR_DEFINITIONS_H_
