#include "controller/hypervisor/networks.h"

#include <libvirt/virterror.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/hypervisor/definition.h"
#include "controller/hypervisor/domain_xml.h"
#include "controller/hypervisor/host_subnets.h"
#include "controller/hypervisor/libvirt_handles.h"
#include "controller/hypervisor/uses.h"

namespace rum {
namespace {

constexpr char kDefault[] = "default";

absl::StatusOr<std::vector<NetworkHandle>> AllNetworks(virConnectPtr connection) {
  virNetworkPtr* list = nullptr;
  const int count = virConnectListAllNetworks(connection, &list, 0);
  if (count < 0) return LibvirtError("looking at the networks");
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
  if (xml.empty()) return LibvirtError("looking at a network");
  return ReadNetworkXml(xml);
}

}  // namespace

absl::StatusOr<std::set<std::string>> NetworkNames(virConnectPtr connection) {
  const absl::StatusOr<std::vector<NetworkHandle>> all = AllNetworks(connection);
  if (!all.ok()) return all.status();
  std::set<std::string> names;
  for (const NetworkHandle& network : *all) names.insert(virNetworkGetName(network.get()));
  return names;
}

Networks::Networks(MachineIdentity machine, ConnectionHandle connection, bool remote,
                   Ledger* ledger)
    : machine_(std::move(machine)),
      connection_(std::move(connection)),
      remote_(remote),
      ledger_(ledger) {}

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

// As it has to be; what is there already keeps its uuid and, without a fixed address, its subnet,
// unless the host has got another use for that while nobody was on it.
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
    const bool kept = virNetworkIsActive(there->get()) == 1 ||
                      std::none_of(used->begin(), used->end(), [&](const Subnet& other) {
                        return facts->network.subnet.Overlaps(other);
                      });
    if (!subnet.has_value() && kept) subnet = facts->network.subnet;
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

// One that went meanwhile keeps no machine from its start.
absl::StatusOr<bool> Networks::Joins(const Interface& interface) {
  if (!interface.joined()) return false;
  const absl::StatusOr<NetworkHandle> there = FindNetwork(connection_.get(), interface.network());
  if (!there.ok()) return there.status();
  return *there != nullptr;
}

absl::StatusOr<std::map<std::string, std::string>> Networks::Make(const Config& config) {
  std::map<std::string, std::string> names;
  for (const Interface& interface : config.network().interfaces()) {
    const absl::StatusOr<bool> joins = Joins(interface);
    if (!joins.ok()) return joins.status();
    if (*joins) {
      names[interface.network()] = interface.network();
      continue;
    }
    absl::StatusOr<HostNetwork> wanted = Wanted(interface);
    if (!wanted.ok()) return wanted.status();
    names[interface.network()] = wanted->name;
    absl::StatusOr<NetworkHandle> there = FindNetwork(connection_.get(), wanted->name);
    if (!there.ok()) return there.status();
    if (*there) {
      if (!IsOwn(wanted->name)) {
        return absl::FailedPreconditionError(absl::StrCat(
            "network.interfaces[", interface.network(), "]: libvirt has a network ", wanted->name,
            ", and it is not known that rum made it: remove it (virsh net-undefine) or take "
            "another name"));
      }
      absl::StatusOr<NetworkFacts> facts = FactsOf(there->get(), VIR_NETWORK_XML_INACTIVE);
      if (!facts.ok()) return facts.status();
      if (facts->network == *wanted) continue;
    }
    if (absl::Status noted = ledger_->AddNetwork(wanted->name); !noted.ok()) return noted;
    NetworkHandle made(virNetworkDefineXML(connection_.get(), MakeNetworkXml(*wanted).c_str()));
    if (!made) return LibvirtError(absl::StrCat("network ", wanted->name));
    // So that whoever starts the domain after the host's boot finds it.
    if (virNetworkSetAutostart(made.get(), 1) != 0) {
      return LibvirtError(absl::StrCat("network ", wanted->name));
    }
  }
  return names;
}

absl::StatusOr<bool> Networks::RunsAsDefined(virNetworkPtr network) {
  absl::StatusOr<NetworkFacts> live = FactsOf(network, 0);
  absl::StatusOr<NetworkFacts> next = FactsOf(network, VIR_NETWORK_XML_INACTIVE);
  if (!live.ok()) return live.status();
  if (!next.ok()) return next.status();
  return live->network == next->network;
}

absl::Status Networks::MayChange(const std::string& name, int leaving) {
  if (!IsOwn(name)) return absl::OkStatus();
  absl::StatusOr<NetworkHandle> network = FindNetwork(connection_.get(), name);
  if (!network.ok()) return network.status();
  if (!*network || virNetworkIsActive(network->get()) != 1) return absl::OkStatus();
  const absl::StatusOr<bool> as_defined = RunsAsDefined(network->get());
  if (!as_defined.ok() || *as_defined) return as_defined.status();
  const int ports = virNetworkListAllPorts(network->get(), nullptr, 0);
  if (ports < 0) return LibvirtError(absl::StrCat("network ", name));
  if (ports <= leaving) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("network ", name, " cannot change while others have a card on it"));
}

absl::Status Networks::StartOne(const std::string& name) {
  absl::StatusOr<NetworkHandle> network = FindNetwork(connection_.get(), name);
  if (!network.ok()) return network.status();
  if (!*network) {
    return absl::NotFoundError(absl::StrCat(
        "libvirt has no network ", name,
        name == "default" ? ", which network.nat needs: `rum doctor` says how it is made" : ""));
  }
  const std::string doing = absl::StrCat("network ", name);
  if (virNetworkIsActive(network->get()) == 1) {
    if (!IsOwn(name)) return absl::OkStatus();
    const absl::StatusOr<bool> as_defined = RunsAsDefined(network->get());
    if (!as_defined.ok() || *as_defined) return as_defined.status();
    if (virNetworkListAllPorts(network->get(), nullptr, 0) != 0) return absl::OkStatus();
    if (virNetworkDestroy(network->get()) != 0) return LibvirtError(doing);
  }
  if (virNetworkCreate(network->get()) == 0) return absl::OkStatus();
  absl::Status error = LibvirtError(doing);
  return virNetworkIsActive(network->get()) == 1 ? absl::OkStatus() : error;  // somebody was faster
}

absl::Status Networks::Start(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    // Other networks are their makers' to start.
    if (name != kDefault && !IsOwn(name)) continue;
    if (absl::Status started = StartOne(name); !started.ok()) return started;
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> Networks::DefaultIsOff() {
  absl::StatusOr<NetworkHandle> network = FindNetwork(connection_.get(), kDefault);
  if (!network.ok()) return network.status();
  return *network && virNetworkIsActive(network->get()) == 0;
}

absl::StatusOr<bool> Networks::StopDefault() {
  absl::StatusOr<NetworkHandle> network = FindNetwork(connection_.get(), kDefault);
  if (!network.ok()) return network.status();
  if (!*network || virNetworkIsActive(network->get()) != 1) return false;
  if (virNetworkListAllPorts(network->get(), nullptr, 0) != 0) return false;
  const auto cards = AskCards(connection_.get());
  if (!cards.ok()) return cards.status();
  if (cards->count(kDefault) > 0) return false;
  if (virNetworkDestroy(network->get()) == 0) return true;
  return LibvirtError(absl::StrCat("network ", kDefault));
}

absl::Status Networks::RemoveOne(const std::string& name) {
  absl::StatusOr<NetworkHandle> network = FindNetwork(connection_.get(), name);
  if (!network.ok()) return network.status();
  if (*network) {
    if (virNetworkIsActive(network->get()) == 1 && virNetworkDestroy(network->get()) != 0) {
      return LibvirtError("stopping it");
    }
    if (virNetworkUndefine(network->get()) != 0) return LibvirtError("undefining it");
  }
  return ledger_->ForgetNetwork(name);
}

Removal Networks::Remove(const std::set<std::string>& used) {
  Removal removal;
  std::set<std::string> unused;
  for (const std::string& name : ledger_->networks()) {
    if (used.count(name) == 0) unused.insert(name);
  }
  if (unused.empty()) return removal;
  const auto cards = AskCards(connection_.get());
  for (const std::string& name : unused) {
    const std::string what = absl::StrCat("network ", name);
    if (!cards.ok()) {
      removal.kept.push_back(absl::StrCat(
          what, ": it cannot be known who is on it: ", std::string(cards.status().message())));
    } else if (const auto on = cards->find(name); on != cards->end()) {
      removal.kept.push_back(
          absl::StrCat(what, ": domain ", *on->second.begin(), " has a card on it"));
    } else if (absl::Status removed = RemoveOne(name); !removed.ok()) {
      removal.kept.push_back(absl::StrCat(what, ": ", std::string(removed.message())));
    } else {
      removal.removed.push_back(what);
    }
  }
  return removal;
}

}  // namespace rum
