#include "controller/hypervisor/own_devices.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cctype>
#include <set>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "controller/hypervisor/definition.h"
#include "controller/hypervisor/domain_xml.h"
#include "controller/hypervisor/xml_tree.h"
#include "state/identity.h"

namespace rum {
namespace {

using pugi::xml_node;

std::string AliasOf(xml_node device) { return device.child("alias").attribute("name").value(); }

// rum's devices without an alias of rum's, by what they are.
class Recogniser {
 public:
  Recogniser(xml_node domain, const OwnMetadata& said)
      : domain_name_(domain.child("name").text().as_string()), said_(said) {
    for (const auto& [name, drive] : said.config.drives()) serials_.insert(DriveSerial(name));
    for (const Mount& mount : said.config.mounts()) tags_.insert(MountTag(mount));
  }

  // The alias that it would have; empty: it is not rum's. `plain`: the definition has no aliases of
  // rum's at all.
  std::string Judge(xml_node device, bool plain) const {
    const std::string kind = device.name();
    if (kind == "disk") return Disk(device);
    if (kind == "interface") return Card(device, plain);
    if (kind == "filesystem") {
      const std::string tag = device.child("target").attribute("dir").value();
      return tags_.count(tag) > 0 ? FolderAlias(tag) : "";
    }
    if (kind == "channel") {
      const std::string name = device.child("target").attribute("name").value();
      return name == kAgentChannel ? kAgentAlias : name == kForwardChannel ? kForwardAlias : "";
    }
    return plain ? Furniture(device) : "";
  }

 private:
  // A file that rum named for this machine: "rum-NAME-ID.KIND.…", whatever the domain is called
  // now.
  bool IsVolume(const std::string& path, const std::string& kind) const {
    const std::string file = path.substr(path.rfind('/') + 1);
    if (absl::StartsWith(file, absl::StrCat(domain_name_, ".", kind, "."))) return true;
    return !said_.machine_id.empty() && absl::StartsWith(file, "rum-") &&
           absl::StrContains(file, absl::StrCat("-", said_.machine_id, ".", kind, "."));
  }

  std::string Disk(xml_node disk) const {
    const std::string serial = disk.child("serial").text().as_string();
    const std::string path = SourceOf(disk);
    if (Is(disk, "device", "cdrom")) return IsVolume(path, "seed") ? kSeedAlias : "";
    if (Is(disk, "device", "floppy")) return "";
    if (serial == "rum.root") return kRootAlias;
    if (serial.empty()) return Is(disk.child("target"), "dev", "vda") ? kRootAlias : "";
    const bool made = absl::StartsWith(serial, "rum-") && IsVolume(path, "drive." + serial);
    return made || serials_.count(serial) > 0 ? DriveAlias(serial) : "";
  }

  // By the address that rum gave it, which says more than an old alias: that only counts.
  std::string Card(xml_node card, bool plain) const {
    const auto& interfaces = said_.config.network().interfaces();
    const std::string mac = card.child("mac").attribute("address").value();
    std::vector<std::string> names = {"nat"};
    for (const Interface& interface : interfaces) names.push_back("network:" + interface.network());
    names.push_back(absl::StrCat("network:", card.child("source").attribute("network").value()));
    for (const std::string& name : names) {
      if (!mac.empty() && mac == MacOf(domain_name_, name)) return CardAlias(name);
    }
    const std::string alias = AliasOf(card);
    if (!plain || !IsOldAlias(alias)) return "";
    if (alias == "ua-nat") return kNatAlias;
    int number = -1;  // of the card among them
    const bool known = absl::SimpleAtoi(alias.substr(6), &number) && number < interfaces.size();
    return known ? CardAlias("network:" + interfaces[number].network()) : "";
  }

  // What is made once and then left to the user, and the vsock.
  static std::string Furniture(xml_node device) {
    const std::string kind = device.name();
    if (kind == "vsock") {
      return Is(device, "model", "virtio") && Is(device.child("cid"), "auto", "yes") ? kVsockAlias
                                                                                     : "";
    }
    if (kind == "controller") {
      const bool ports = Is(device, "type", "virtio-serial") && Is(device, "index", "0");
      return ports && device.attribute("vectors") ? kPortsAlias : "";
    }
    if (kind == "serial") {
      const bool first = Is(device.child("target"), "port", "0");
      return first && Is(device, "type", "pty") ? kSerialAlias : "";
    }
    if (kind == "memballoon") return Is(device, "model", "virtio") ? kBalloonAlias : "";
    if (kind != "rng" || !Is(device, "model", "virtio")) return "";
    return device.child("backend").text().as_string() == std::string("/dev/urandom") ? kRngAlias
                                                                                     : "";
  }

  const std::string domain_name_;
  const OwnMetadata& said_;
  std::set<std::string> serials_;
  std::set<std::string> tags_;
};

}  // namespace

std::string DriveAlias(const std::string& serial) {
  return absl::StrCat(kDriveAliases, serial.substr(4));  // without "rum-"
}

std::string CardAlias(const std::string& card) {
  const size_t colon = card.find(':');
  if (colon == std::string::npos) return kNatAlias;
  // The names of networks know no bounds, those of QEMU's devices do.
  const std::string network = card.substr(colon + 1);
  const bool plain = !network.empty() && network.size() <= 24 &&
                     std::all_of(network.begin(), network.end(), [](unsigned char c) {
                       return std::isalnum(c) != 0 || c == '-' || c == '_';
                     });
  return absl::StrCat(kCardAliases,
                      plain ? network : Sha256Hex("network:" + network).substr(0, 16));
}

std::string FolderAlias(const std::string& tag) {
  // virtiofsd's socket has it in its path, which has to be short.
  return absl::StrCat(kFolderAliases, Sha256Hex("folder:" + tag).substr(0, 12));
}

bool IsOldAlias(const std::string& alias) {
  if (alias == "ua-nat") return true;
  const std::string number = absl::StartsWith(alias, "ua-net") ? alias.substr(6) : "";
  return !number.empty() && number.find_first_not_of("0123456789") == std::string::npos;
}

OwnMetadata ReadOwnMetadata(xml_node domain) {
  const xml_node machine = domain.child("metadata").child("rum:machine");
  OwnMetadata said;
  said.machine_id = machine.attribute("id").value();
  said.on_crash = machine.attribute("on-crash").value();
  said.most_cpus = machine.attribute("most-cpus").as_uint();
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;  // of a newer rum
  const std::string json = machine.child("rum:config").text().as_string();
  Config config;
  if (!json.empty() && google::protobuf::util::JsonStringToMessage(json, &config, options).ok()) {
    said.config = std::move(config);
  }
  return said;
}

std::map<std::string, xml_node> FindOwnDevices(xml_node domain, const OwnMetadata& said) {
  std::map<std::string, xml_node> own;
  const xml_node devices = domain.child("devices");
  for (xml_node device : devices.children()) {
    // The first console is the first serial port again.
    if (device.name() == std::string("console")) continue;
    const std::string alias = AliasOf(device);
    if (absl::StartsWith(alias, kOwnAliases)) own.emplace(alias, device);
  }
  const Recogniser recogniser(domain, said);
  const bool plain = own.empty();
  for (xml_node device : devices.children()) {
    if (absl::StartsWith(AliasOf(device), kOwnAliases)) continue;
    const std::string alias = recogniser.Judge(device, plain);
    if (!alias.empty()) own.emplace(alias, device);
  }
  return own;
}

std::string SourceOf(xml_node disk) {
  const xml_node source = disk.child("source");
  for (const char* attribute : {"file", "dev", "name"}) {
    if (source.attribute(attribute)) return source.attribute(attribute).value();
  }
  const std::string volume = source.attribute("volume").value();
  return volume.empty() ? "" : absl::StrCat(source.attribute("pool").value(), "/", volume);
}

bool IsAliasOf(const std::string& alias, const std::string& machine) {
  if (machine == alias) return true;
  if (alias == "pc") return absl::StartsWith(machine, "pc-i440fx-");
  return absl::StartsWith(machine, absl::StrCat("pc-", alias, "-")) ||
         absl::StartsWith(machine, absl::StrCat(alias, "-"));
}

// Decimal units too, since a person may have written the XML.
uint64_t MemoryMib(xml_node node) {
  static const std::map<std::string, uint64_t>* const units =
      new std::map<std::string, uint64_t>{{"b", 1},
                                          {"bytes", 1},
                                          {"KB", 1000},
                                          {"k", 1024},
                                          {"KiB", 1024},
                                          {"", 1024},
                                          {"MB", 1000000},
                                          {"M", 1 << 20},
                                          {"MiB", 1 << 20},
                                          {"GB", 1000000000},
                                          {"G", 1 << 30},
                                          {"GiB", 1 << 30},
                                          {"TB", 1000000000000},
                                          {"T", 1ULL << 40},
                                          {"TiB", 1ULL << 40}};
  const auto unit = units->find(node.attribute("unit").value());
  const uint64_t factor = unit == units->end() ? 1024 : unit->second;
  // A cell of a NUMA guest has it as an attribute.
  const pugi::xml_attribute memory = node.attribute("memory");
  return (memory ? memory.as_ullong() : node.text().as_ullong()) * factor / (1 << 20);
}

uint64_t MemoryOf(xml_node domain) {
  const uint64_t memory = MemoryMib(domain.child("memory"));
  const xml_node current = domain.child("currentMemory");
  return current ? std::min(memory, MemoryMib(current)) : memory;
}

uint32_t CpusOf(xml_node domain) {
  const xml_node vcpu = domain.child("vcpu");
  return vcpu.attribute("current").as_uint(vcpu.text().as_uint());
}

std::string MacOf(const std::string& domain_name, const std::string& card) {
  const std::string hex = Sha256Hex(absl::StrCat("mac:", domain_name, ":", card));
  return absl::StrCat("52:54:00:", hex.substr(0, 2), ":", hex.substr(2, 2), ":", hex.substr(4, 2));
}

}  // namespace rum
