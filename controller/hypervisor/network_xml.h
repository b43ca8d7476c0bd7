#ifndef RUM_CONTROLLER_HYPERVISOR_NETWORK_XML_H_
#define RUM_CONTROLLER_HYPERVISOR_NETWORK_XML_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace rum {

// A range of IPv4 addresses, such as 192.168.122.0/24.
struct Subnet {
  uint32_t address = 0;  // of the network, in the host's byte order
  int prefix = 24;
  std::string Text() const;
  bool Overlaps(const Subnet& other) const;
  friend bool operator==(const Subnet&, const Subnet&) = default;
};

// The /24 of an IPv4 address; nullopt: it is none.
std::optional<Subnet> SubnetOf(const std::string& address);

// A private /24 that overlaps none of `used`, of 192.168.0.0/16 if one is left there; `wish` (any
// number) says where to look first, so that a machine gets the same one again. ResourceExhausted:
// there is none left.
absl::StatusOr<Subnet> FreeSubnet(const std::vector<Subnet>& used, uint32_t wish);

// A network between host and guests, without a way out (https://libvirt.org/formatnetwork.html).
struct HostNetwork {
  std::string name;
  std::string uuid;                                 // empty: libvirt chooses
  Subnet subnet;                                    // the host has its first address
  std::map<std::string, std::string> reservations;  // address by MAC
  friend bool operator==(const HostNetwork&, const HostNetwork&) = default;
};

std::string MakeNetworkXml(const HostNetwork& network);

// What any network of libvirt is, as far as it matters here. InvalidArgument: not a network's XML.
struct NetworkFacts {
  HostNetwork network;
  std::vector<Subnet> subnets;  // IPv4
};
absl::StatusOr<NetworkFacts> ReadNetworkXml(const std::string& xml);

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_NETWORK_XML_H_
