#ifndef RUM_CONTROLLER_HYPERVISOR_DOMAIN_XML_H_
#define RUM_CONTROLLER_HYPERVISOR_DOMAIN_XML_H_

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "controller/hypervisor/definition.h"
#include "state/config.pb.h"
#include "state/identity.h"

namespace rum {

inline constexpr char kAgentChannel[] = "org.rum.agent.0";
inline constexpr char kForwardChannel[] = "org.rum.forward.0";

// Says which kind of libvirt a definition is for; it decides on networks and shared folders.
enum class ConnectionKind { kSystem, kSession, kTest };

// All that a domain definition is made of.
struct DomainParts {
  MachineIdentity identity;
  Config config;
  ConnectionKind connection = ConnectionKind::kSession;
  std::string domain_type;  // resolved: "kvm" or "qemu"; ignored for kTest
  std::string uuid;
  std::string owner;       // see ThisUser()
  std::string disk_nonce;  // names the making of the root disk
  std::string base_path;   // the file that the root disk is a layer over, and
  std::string base_mark;   // how it was then: BaseImage::mark; both empty for a copy
  std::string root_path;
  std::string seed_path;
  std::map<std::string, std::string> drive_paths;  // by drive name
  std::string channel_path;  // of the sockets, before "." and the channel's name; empty: libvirt's
  std::string console_log;   // see ConsoleLogPath
  std::map<std::string, std::string> networks;  // libvirt's names; absent: as in the file
  bool vsock = false;                           // the host can talk to guests by vsock(7)
  bool tcg_cache = false;                       // see ConnectionFacts
  bool free_pages = false;                      // the same
  unsigned host_cpus = 0;                       // the same
  bool started_default = false;       // libvirt's network "default" was off and had to be started
  std::set<std::string> own_volumes;  // that rum made for the machine: paths
  std::set<std::string> own_networks;
};

// The libvirt XML of a new machine. Pure: equal parts give an equal text.
std::string MakeDomainXml(const DomainParts& parts);

// The definition `xml` with what is rum's as `parts` say; everything else stays as it is, where it
// is: other devices, what somebody or libvirt gave rum's devices, and elements that rum.toml says
// nothing of, with which rum once began (MakeDomainXml) but which are the user's since. `xml`
// itself when nothing of it changes. InvalidArgument: not a domain's XML. FailedPrecondition: its
// metadata are of another machine.
absl::StatusOr<std::string> EditDomainXml(const std::string& xml, const DomainParts& parts);

// A definition read back: what is rum's in it (own_devices.h).
struct DomainFacts {
  Config config;  // the XML's own facts first, the rest from rum's metadata element
  Room room;      // of a live definition
  std::string machine_id;
  std::string owner;  // empty: a rum made it that did not say
  std::string uuid;
  std::string disk_nonce;
  std::string base_path;
  std::string base_mark;
  // What disks stand on now: a file, or what somebody put in its place (SourceOf).
  std::string root_path;
  std::string root_target;  // "vda"
  std::string seed_path;
  std::map<std::string, std::string> drive_paths;
  std::map<std::string, std::string> drive_targets;  // "vdb"
  // The sockets on the host by the channel's name; paths are in a live definition only.
  std::map<std::string, std::string> channel_paths;
  std::string console_log;  // where what the serial console says is kept; empty: nowhere
  bool virtiofs = false;    // shared folders are given by virtiofs, not by 9p
  // Of the config's mounts, those that no metadata speak of: rum's folders without a target.
  std::set<std::string> unclaimed_tags;
  std::set<std::string> others_tags;  // of folders that are not rum's
  uint32_t vsock_cid = 0;             // in a live definition; 0: no vsock
  std::vector<std::string> networks;  // libvirt networks that any card is on
  bool started_default = false;       // see DomainParts
  // What the definition says that rum made; nullopt: it was written before that was noted.
  std::optional<std::set<std::string>> own_volumes;
  std::set<std::string> own_networks;
};

// `auto_type`: what advanced.domain_type = "auto" means here; a domain of that type reads back as
// "auto" if it was defined so. InvalidArgument: not a domain's XML.
absl::StatusOr<DomainFacts> ReadDomainXml(const std::string& xml, const std::string& auto_type);

// Returns where the channels' sockets have to be, but for "." and a channel's name: empty unless
// libvirt's own place, below its per-user configuration folder, is too long for a socket's address
// (unix(7): 107 bytes).
std::string ChannelPath(const MachineIdentity& identity, ConnectionKind connection);

// Returns where libvirt keeps what a new machine's serial console says, from each start anew and
// within libvirt's own bound (virtlogd.conf). Empty: nowhere, as we could not read it.
std::string ConsoleLogPath(const MachineIdentity& identity, ConnectionKind connection);

// How a definition says whose machine it is: the numeric id of the user who runs this, and the
// name.
std::string ThisUser();

// A UUID and a MAC address that belong to the machine, always the same.
std::string DomainUuid(const MachineIdentity& identity);
std::string CardMac(const MachineIdentity& identity, const std::string& card);

// What the MAC addresses of a machine's cards are made from, in the order of the cards.
std::vector<std::string> CardsOf(const Config& config);

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_DOMAIN_XML_H_
