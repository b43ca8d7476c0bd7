#ifndef RUM_TESTS_CONTROLLER_HYPERVISOR_LIBVIRT_EDIT_H_
#define RUM_TESTS_CONTROLLER_HYPERVISOR_LIBVIRT_EDIT_H_

#include <functional>
#include <string>

namespace rum {

// `virsh edit` by somebody: the persistent definition of a domain of that libvirt becomes what
// `edit` makes of it. Returns it as it is then.
std::string EditInLibvirt(const std::string& uri, const std::string& domain,
                          const std::function<void(std::string* xml)>& edit);

// `virsh net-define` by somebody, of an isolated network without addresses; and his net-undefine.
void DefineTheirNetwork(const std::string& uri, const std::string& name);
void UndefineTheirNetwork(const std::string& uri, const std::string& name);

}  // namespace rum

#endif  // RUM_TESTS_CONTROLLER_HYPERVISOR_LIBVIRT_EDIT_H_
