#ifndef RUM_CONTROLLER_HYPERVISOR_OWN_DEVICES_H_
#define RUM_CONTROLLER_HYPERVISOR_OWN_DEVICES_H_

#include <map>
#include <pugixml.hpp>
#include <string>

#include "state/config.pb.h"

namespace rum {

// The alias by which each of rum's devices is known again in a definition; libvirt keeps aliases
// that begin with "ua-".
inline constexpr char kOwnAliases[] = "ua-rum-";
inline constexpr char kRootAlias[] = "ua-rum-root";
inline constexpr char kSeedAlias[] = "ua-rum-seed";
inline constexpr char kAgentAlias[] = "ua-rum-agent";
inline constexpr char kForwardAlias[] = "ua-rum-forward";
inline constexpr char kVsockAlias[] = "ua-rum-vsock";
inline constexpr char kSerialAlias[] = "ua-rum-serial";
inline constexpr char kPortsAlias[] = "ua-rum-ports";
inline constexpr char kBalloonAlias[] = "ua-rum-balloon";
inline constexpr char kRngAlias[] = "ua-rum-rng";
inline constexpr char kMemoryAlias[] = "ua-rum-memory";
inline constexpr char kPanicAlias[] = "ua-rum-panic";
inline constexpr char kNatAlias[] = "ua-rum-nat";
inline constexpr char kCardAliases[] = "ua-rum-net-";
inline constexpr char kDriveAliases[] = "ua-rum-drive-";
inline constexpr char kFolderAliases[] = "ua-rum-fs-";
std::string DriveAlias(const std::string& serial);
std::string CardAlias(const std::string& card);  // one of CardsOf()
std::string FolderAlias(const std::string& tag);

// An alias that rum gave a card before those above: "ua-nat", "ua-net0".
bool IsOldAlias(const std::string& alias);

// What a definition has of rum's metadata, if anything.
struct OwnMetadata {
  std::string machine_id;
  Config config;
  std::string on_crash;    // what rum set it to; empty: a rum that gave no panic device
  unsigned most_cpus = 0;  // the room for vCPUs that rum wrote; 0: it wrote none
};
OwnMetadata ReadOwnMetadata(pugi::xml_node domain);

// rum's devices of a domain by their aliases: those that carry one, and those without that are what
// rum made before it gave aliases, or whose alias somebody's tool dropped. All others are not
// rum's, whatever they resemble.
std::map<std::string, pugi::xml_node> FindOwnDevices(pugi::xml_node domain,
                                                     const OwnMetadata& said);

// What a disk stands on: a file, a block device, or a name on the network; empty: an empty tray.
std::string SourceOf(pugi::xml_node disk);

// `alias`: as in advanced.machine; `machine`: as libvirt expands it.
bool IsAliasOf(const std::string& alias, const std::string& machine);

// Returns, in MiB, what the guest has of it; the balloon's target where somebody moved it.
uint64_t MemoryOf(pugi::xml_node domain);
// Reads MiB from any of libvirt's units; `unit` is an attribute of the node's.
uint64_t MemoryMib(pugi::xml_node node);
uint32_t CpusOf(pugi::xml_node domain);

// The MAC address of a card of the domain with that name; see CardMac().
std::string MacOf(const std::string& domain_name, const std::string& card);

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_OWN_DEVICES_H_
