#include "controller/hypervisor/networks.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <libvirt/virterror.h>
#include <net/if.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/hypervisor/definition.h"
#include "controller/hypervisor/domain_xml.h"
#include "controller/hypervisor/libvirt_handles.h"

namespace rum {
namespace {

absl::StatusOr<std::vector<NetworkHandle>> AllNetworks(virConnectPtr connection) {
  virNetworkPtr* list = nullptr;
  const int count = virConnectListAllNetworks(connection, &list, 0);
  if (count < 0) return LibvirtError("networks");
  std::vector<NetworkHandle> networks;
  for (int i = 0; i < count; ++i) networks.emplace_back(list[i]);
  free(list);
  return networks;
}

// Null and no error: there is none of that name.
absl::StatusOr<NetworkHandle> FindNetwork(virConnectPtr connection, const std::string& name) {
  NetworkHandle network(virNetworkLookupByName(connection, name.c_str()));
  if (!network && LastLibvirtCode() != VIR_ERR_NO_NETWORK) {
    return LibvirtError(absl::StrCat("network ", name));
  }
  return network;
}

absl::StatusOr<NetworkFacts> FactsOf(virNetworkPtr network, unsigned flags) {
  const std::string xml = TakeText(virNetworkGetXMLDesc(network, flags));
  if (xml.empty()) return LibvirtError("network");
  return ReadNetworkXml(xml);
}

// Where the host has addresses itself, but for those of `bridge`.
std::vector<Subnet> HostSubnets(const std::string& bridge) {
  std::vector<Subnet> subnets;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return subnets;
  for (const ifaddrs* i = list; i != nullptr; i = i->ifa_next) {
    if (i->ifa_addr == nullptr || i->ifa_netmask == nullptr) continue;
    if (i->ifa_addr->sa_family != AF_INET || (i->ifa_flags & IFF_LOOPBACK) != 0) continue;
    if (bridge == i->ifa_name) continue;
    const uint32_t address =
        ntohl(reinterpret_cast<const sockaddr_in*>(i->ifa_addr)->sin_addr.s_addr);
    const uint32_t mask =
        ntohl(reinterpret_cast<const sockaddr_in*>(i->ifa_netmask)->sin_addr.s_addr);
    subnets.push_back({address & mask, __builtin_popcount(mask)});
  }
  freeifaddrs(list);
  return subnets;
}

}  // namespace

Networks::Networks(MachineIdentity machine, ConnectionHandle connection, bool remote)
    : machine_(std::move(machine)), connection_(std::move(connection)), remote_(remote) {}

absl::StatusOr<std::vector<Subnet>> Networks::UsedByOthersThan(const std::string& name) {
  absl::StatusOr<std::vector<NetworkHandle>> all = AllNetworks(connection_.get());
  if (!all.ok()) return all.status();
  std::vector<Subnet> used;
  std::string own_bridge;
  for (const NetworkHandle& network : *all) {
    if (name == virNetworkGetName(network.get())) {
      own_bridge = TakeText(virNetworkGetBridgeName(network.get()));
      continue;
    }
    absl::StatusOr<NetworkFacts> facts = FactsOf(network.get(), 0);
    if (!facts.ok()) return facts.status();
    used.insert(used.end(), facts->subnets.begin(), facts->subnets.end());
  }
  if (remote_) return used;
  const std::vector<Subnet> host = HostSubnets(own_bridge);
  used.insert(used.end(), host.begin(), host.end());
  return used;
}

// As it has to be; what is there already keeps its uuid and, without a fixed address, its subnet.
absl::StatusOr<HostNetwork> Networks::Wanted(const Interface& interface) {
  HostNetwork wanted;
  wanted.name = OwnNetworkName(machine_.id, interface.network());
  absl::StatusOr<std::vector<Subnet>> used = UsedByOthersThan(wanted.name);
  if (!used.ok()) return used.status();
  absl::StatusOr<NetworkHandle> there = FindNetwork(connection_.get(), wanted.name);
  if (!there.ok()) return there.status();
  std::optional<Subnet> subnet = SubnetOf(interface.ip());
  if (*there) {
    absl::StatusOr<NetworkFacts> facts = FactsOf(there->get(), VIR_NETWORK_XML_INACTIVE);
    if (!facts.ok()) return facts.status();
    wanted.uuid = facts->network.uuid;
    if (!subnet.has_value()) subnet = facts->network.subnet;
  }
  if (!interface.ip().empty()) {
    wanted.reservations[CardMac(machine_, "network:" + interface.network())] = interface.ip();
    for (const Subnet& other : *used) {
      if (!subnet->Overlaps(other)) continue;
      return absl::FailedPreconditionError(absl::StrCat("network.interfaces[", interface.network(),
                                                        "].ip ", interface.ip(), ": ", other.Text(),
                                                        " is in use on the host; choose another"));
    }
  } else if (!subnet.has_value()) {
    const std::string hash = Sha256Hex(wanted.name);
    absl::StatusOr<Subnet> free =
        FreeSubnet(*used, static_cast<uint32_t>(std::stoul(hash.substr(0, 4), nullptr, 16)));
    if (!free.ok()) return free.status();
    subnet = *free;
  }
  wanted.subnet = *subnet;
  return wanted;
}

absl::StatusOr<std::map<std::string, std::string>> Networks::Make(const Config& config) {
  std::map<std::string, std::string> names;
  for (const Interface& interface : config.network().interfaces()) {
    absl::StatusOr<NetworkHandle> libvirts = FindNetwork(connection_.get(), interface.network());
    if (!libvirts.ok()) return libvirts.status();
    if (*libvirts) {
      names[interface.network()] = interface.network();
      continue;
    }
    absl::StatusOr<HostNetwork> wanted = Wanted(interface);
    if (!wanted.ok()) return wanted.status();
    names[interface.network()] = wanted->name;
    absl::StatusOr<NetworkHandle> there = FindNetwork(connection_.get(), wanted->name);
    if (!there.ok()) return there.status();
    if (*there) {
      absl::StatusOr<NetworkFacts> facts = FactsOf(there->get(), VIR_NETWORK_XML_INACTIVE);
      if (!facts.ok()) return facts.status();
      if (facts->network == *wanted) continue;
    }
    NetworkHandle made(virNetworkDefineXML(connection_.get(), MakeNetworkXml(*wanted).c_str()));
    if (!made) return LibvirtError(absl::StrCat("network ", wanted->name));
    // So that whoever starts the domain after the host's boot finds it.
    if (virNetworkSetAutostart(made.get(), 1) != 0) {
      return LibvirtError(absl::StrCat("network ", wanted->name));
    }
  }
  return names;
}

absl::Status Networks::StartOne(const std::string& name) {
  absl::StatusOr<NetworkHandle> network = FindNetwork(connection_.get(), name);
  if (!network.ok()) return network.status();
  if (!*network) return absl::NotFoundError(absl::StrCat("libvirt has no network ", name));
  const std::string doing = absl::StrCat("network ", name);
  if (virNetworkIsActive(network->get()) == 1) {
    if (!IsOwnNetwork(machine_.id, name)) return absl::OkStatus();
    absl::StatusOr<NetworkFacts> live = FactsOf(network->get(), 0);
    absl::StatusOr<NetworkFacts> next = FactsOf(network->get(), VIR_NETWORK_XML_INACTIVE);
    if (!live.ok()) return live.status();
    if (!next.ok()) return next.status();
    if (live->network == next->network) return absl::OkStatus();
    if (virNetworkDestroy(network->get()) != 0) return LibvirtError(doing);
  }
  if (virNetworkCreate(network->get()) == 0) return absl::OkStatus();
  absl::Status error = LibvirtError(doing);
  return virNetworkIsActive(network->get()) == 1 ? absl::OkStatus() : error;  // somebody was faster
}

absl::Status Networks::Start(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    // Other networks are their makers' to start.
    if (name != "default" && !IsOwnNetwork(machine_.id, name)) continue;
    if (absl::Status started = StartOne(name); !started.ok()) return started;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> Networks::Remove(const std::set<std::string>& used) {
  absl::StatusOr<std::vector<NetworkHandle>> all = AllNetworks(connection_.get());
  if (!all.ok()) return all.status();
  std::vector<std::string> removed;
  for (const NetworkHandle& network : *all) {
    const std::string name = virNetworkGetName(network.get());
    if (!IsOwnNetwork(machine_.id, name) || used.count(name) > 0) continue;
    if (virNetworkIsActive(network.get()) == 1 && virNetworkDestroy(network.get()) != 0) {
      return LibvirtError(absl::StrCat("network ", name));
    }
    if (virNetworkUndefine(network.get()) != 0) {
      return LibvirtError(absl::StrCat("network ", name));
    }
    removed.push_back(absl::StrCat("network ", name));
  }
  return removed;
}

}  // namespace rum
