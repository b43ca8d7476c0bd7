#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <pugixml.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/hypervisor/definition.h"
#include "controller/hypervisor/domain_xml.h"

namespace rum {
namespace {

using pugi::xml_node;

// libvirt's units of memory; decimal ones too, since a person may have written the XML.
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
  auto unit = units->find(node.attribute("unit").value());
  uint64_t factor = unit == units->end() ? 1024 : unit->second;
  return node.text().as_ullong() * factor / (1 << 20);
}

bool IsAliasOf(const std::string& alias, const std::string& machine) {
  if (machine == alias) return true;
  if (alias == "pc") return absl::StartsWith(machine, "pc-i440fx-");
  return absl::StartsWith(machine, absl::StrCat("pc-", alias, "-")) ||
         absl::StartsWith(machine, absl::StrCat(alias, "-"));
}

void ReadMachine(xml_node domain, const std::string& auto_type, Config* config) {
  const std::string machine = domain.child("os").child("type").attribute("machine").value();
  Advanced* advanced = config->mutable_advanced();
  const std::string said = advanced->machine().empty() ? "q35" : advanced->machine();
  if (!machine.empty() && !IsAliasOf(said, machine)) advanced->set_machine(machine);
  const std::string type = domain.attribute("type").value();
  const bool automatic = advanced->domain_type().empty() || advanced->domain_type() == "auto";
  if (type != "test" && !(automatic && type == auto_type)) advanced->set_domain_type(type);
}

void ReadDisks(xml_node devices, DomainFacts* facts) {
  std::map<std::string, std::pair<std::string, Drive>> known;
  for (const auto& [name, drive] : facts->config.drives()) known[DriveSerial(name)] = {name, drive};
  facts->config.clear_drives();
  for (xml_node disk : devices.children("disk")) {
    const std::string path = disk.child("source").attribute("file").value();
    const std::string serial = disk.child("serial").text().as_string();
    const std::string target = disk.child("target").attribute("dev").value();
    if (disk.attribute("device").value() == std::string("cdrom")) {
      if (target == "sda") facts->seed_path = path;
    } else if (target == "vda") {
      facts->root_path = path;
    } else if (auto it = known.find(serial); it != known.end()) {
      (*facts->config.mutable_drives())[it->second.first] = it->second.second;
      facts->drive_paths[it->second.first] = path;
      facts->drive_targets[it->second.first] = target;
    } else if (absl::StartsWith(serial, "rum-")) {
      (*facts->config.mutable_drives())[serial.substr(4)] = Drive();
    }
  }
}

void ReadCards(xml_node devices, DomainFacts* facts) {
  const Network said = facts->config.network();
  std::map<std::string, Interface> known;
  for (const Interface& interface : said.interfaces()) {
    known[interface.network()] = interface;
    known[OwnNetworkName(facts->machine_id, interface.network())] = interface;
  }
  Network* network = facts->config.mutable_network();
  network->set_nat(false);
  network->clear_interfaces();
  for (xml_node card : devices.children("interface")) {
    const std::string name = card.child("source").attribute("network").value();
    const std::string alias = card.child("alias").attribute("name").value();
    if (!name.empty()) facts->networks.push_back(name);
    // Drivers without aliases of the user's tell the card with the way out by its network.
    const bool named = absl::StartsWith(alias, "ua-");
    const bool way_out = name.empty() || (name == "default" && !network->nat() &&
                                          (said.nat() || known.count(name) == 0));
    if (named ? alias == "ua-nat" : way_out) {
      network->set_nat(true);
      continue;
    }
    auto it = known.find(name);
    Interface* interface = network->add_interfaces();
    if (it != known.end()) {
      *interface = it->second;
    } else {
      interface->set_network(name);
    }
  }
}

void ReadFolders(xml_node devices, DomainFacts* facts) {
  Config* config = &facts->config;
  std::map<std::string, Mount> known;
  for (const Mount& mount : config->mounts()) known[MountTag(mount)] = mount;
  config->clear_mounts();
  for (xml_node node : devices.children("filesystem")) {
    const std::string tag = node.child("target").attribute("dir").value();
    Mount* mount = config->add_mounts();
    auto it = known.find(tag);
    if (it != known.end()) {
      *mount = it->second;
    } else {
      mount->set_target(tag);
      mount->set_tag(tag);
    }
    mount->set_source(node.child("source").attribute("dir").value());
    const bool virtiofs = node.child("driver").attribute("type").value() == std::string("virtiofs");
    facts->virtiofs = virtiofs;
    if (!virtiofs) mount->set_readonly(!node.child("readonly").empty());
  }
}

// A metadata element that somebody damaged leaves the XML's own facts.
void ReadMetadata(xml_node domain, DomainFacts* facts) {
  xml_node machine = domain.child("metadata").child("rum:machine");
  facts->machine_id = machine.attribute("id").value();
  facts->owner = machine.attribute("owner").value();
  facts->disk_nonce = machine.attribute("disk").value();
  facts->base_path = machine.attribute("image").value();
  facts->base_mark = machine.attribute("image-mark").value();
  facts->started_default = machine.attribute("started").value() == std::string("default");
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;  // of a newer rum
  const std::string json = machine.child("rum:config").text().as_string();
  if (json.empty()) return;
  Config config;
  if (google::protobuf::util::JsonStringToMessage(json, &config, options).ok()) {
    facts->config = std::move(config);
  }
}

}  // namespace

absl::StatusOr<DomainFacts> ReadDomainXml(const std::string& xml, const std::string& auto_type) {
  pugi::xml_document document;
  pugi::xml_parse_result parsed = document.load_buffer(
      xml.data(), xml.size(), pugi::parse_default | pugi::parse_ws_pcdata_single);
  xml_node domain = document.child("domain");
  if (!parsed || !domain) {
    return absl::InvalidArgumentError(
        absl::StrCat("not the XML of a domain: ", parsed ? "no <domain>" : parsed.description()));
  }
  DomainFacts facts;
  ReadMetadata(domain, &facts);
  facts.uuid = domain.child("uuid").text().as_string();
  Resources* resources = facts.config.mutable_resources();
  // The balloon's target, where somebody moved it.
  const uint64_t memory_mb = MemoryMib(domain.child("memory"));
  const xml_node current = domain.child("currentMemory");
  resources->set_memory_mb(current ? std::min(memory_mb, MemoryMib(current)) : memory_mb);
  xml_node vcpu = domain.child("vcpu");
  resources->set_cpus(vcpu.attribute("current").as_uint(vcpu.text().as_uint()));
  ReadMachine(domain, auto_type, &facts.config);
  xml_node devices = domain.child("devices");
  ReadDisks(devices, &facts);
  ReadCards(devices, &facts);
  ReadFolders(devices, &facts);
  for (xml_node channel : devices.children("channel")) {
    const std::string name = channel.child("target").attribute("name").value();
    if (name != kAgentChannel && name != kForwardChannel) continue;
    facts.channel_paths[name] = channel.child("source").attribute("path").value();
  }
  facts.vsock_cid = devices.child("vsock").child("cid").attribute("address").as_uint();
  return facts;
}

}  // namespace rum
