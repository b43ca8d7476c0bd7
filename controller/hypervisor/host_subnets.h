#ifndef RUM_CONTROLLER_HYPERVISOR_HOST_SUBNETS_H_
#define RUM_CONTROLLER_HYPERVISOR_HOST_SUBNETS_H_

#include <string>
#include <vector>

#include "controller/hypervisor/network_xml.h"

namespace rum {

// The destinations in a /proc/net/route (proc(5)), but for those through the interface `except` and
// those that hold half of all addresses, as a way out or a VPN for everything has.
std::vector<Subnet> ReadRoutes(const std::string& table, const std::string& except);

// What packets of this host go to already, by its own addresses and by its routes, but for what the
// interface `except` brings.
std::vector<Subnet> HostSubnets(const std::string& except);

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_HOST_SUBNETS_H_
