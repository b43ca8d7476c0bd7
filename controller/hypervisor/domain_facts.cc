#include <algorithm>
#include <map>
#include <pugixml.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/hypervisor/definition.h"
#include "controller/hypervisor/domain_xml.h"
#include "controller/hypervisor/own_devices.h"
#include "controller/hypervisor/resources_xml.h"
#include "state/image_url.h"

namespace rum {
namespace {

using pugi::xml_node;

void ReadMachine(xml_node domain, const std::string& auto_type, Config* config) {
  const std::string machine = domain.child("os").child("type").attribute("machine").value();
  Advanced* advanced = config->mutable_advanced();
  const std::string said = advanced->machine().empty() ? "q35" : advanced->machine();
  if (!machine.empty() && !IsAliasOf(said, machine)) advanced->set_machine(machine);
  const std::string type = domain.attribute("type").value();
  const bool automatic = advanced->domain_type().empty() || advanced->domain_type() == "auto";
  if (type != "test" && !(automatic && type == auto_type)) advanced->set_domain_type(type);
}

using OwnNodes = std::map<std::string, xml_node>;

std::string TargetOf(xml_node disk) { return disk.child("target").attribute("dev").value(); }

void ReadDisks(const OwnNodes& own, DomainFacts* facts) {
  if (auto root = own.find(kRootAlias); root != own.end()) {
    facts->root_path = SourceOf(root->second);
    facts->root_target = TargetOf(root->second);
  }
  if (auto seed = own.find(kSeedAlias); seed != own.end()) {
    facts->seed_path = SourceOf(seed->second);
  }
  std::map<std::string, std::pair<std::string, Drive>> known;
  for (const auto& [name, drive] : facts->config.drives()) {
    known[DriveAlias(DriveSerial(name))] = {name, drive};
  }
  facts->config.clear_drives();
  for (const auto& [alias, disk] : own) {
    if (!absl::StartsWith(alias, kDriveAliases)) continue;
    auto it = known.find(alias);
    const std::string name =
        it == known.end() ? alias.substr(std::string(kDriveAliases).size()) : it->second.first;
    (*facts->config.mutable_drives())[name] = it == known.end() ? Drive() : it->second.second;
    facts->drive_paths[name] = SourceOf(disk);
    facts->drive_targets[name] = TargetOf(disk);
  }
}

// The network that a card is on now, by its name in rum.toml; without a name: it is on none.
Interface NetworkOf(xml_node card, const DomainFacts& facts, const Network& said) {
  Interface found;
  const std::string name = card.child("source").attribute("network").value();
  for (const Interface& interface : said.interfaces()) {
    if (name == OwnNetworkName(facts.machine_id, interface.network())) {
      found.set_network(interface.network());
      return found;
    }
  }
  found.set_network(name);
  found.set_joined(!name.empty());
  return found;
}

// Of a card that somebody put elsewhere.
bool HadOwn(const DomainFacts& facts, const std::string& network) {
  return !facts.own_volumes.has_value() ||
         facts.own_networks.count(OwnNetworkName(facts.machine_id, network)) > 0;
}

void ReadCards(const OwnNodes& own, DomainFacts* facts) {
  const Network said = facts->config.network();
  Network* network = facts->config.mutable_network();
  network->set_nat(false);
  network->clear_interfaces();
  std::map<std::string, Interface> known;
  std::map<std::string, Interface> found;  // networks that cards are on, by alias
  for (const Interface& interface : said.interfaces()) known[interface.network()] = interface;
  for (const auto& [alias, card] : own) {
    if (card.name() != std::string("interface")) continue;
    const Interface on = NetworkOf(card, *facts, said);
    if (alias != kNatAlias) {
      found[alias] = on;
    } else if (on.network() == "default" ||
               card.attribute("type").value() != std::string("network")) {
      network->set_nat(true);
    }
  }
  const auto take = [&](const std::string& name, bool joined) {
    auto it = known.find(name);
    Interface* interface = network->add_interfaces();
    if (it != known.end()) *interface = it->second;
    interface->set_network(name);
    interface->set_joined(joined);
  };
  for (const Interface& interface : said.interfaces()) {  // in the order of the file
    auto it = found.find(CardAlias("network:" + interface.network()));
    if (it == found.end()) continue;
    // On none: somebody put it on a bridge, say, which is for him to know.
    const Interface& on = it->second;
    if (on.network().empty()) {
      take(interface.network(), !HadOwn(*facts, interface.network()));
    } else {
      take(on.network(), on.joined());
    }
    found.erase(it);
  }
  for (const auto& [alias, on] : found) {
    if (!on.network().empty()) take(on.network(), on.joined());
  }
}

void ReadFolder(xml_node node, Mount mount, DomainFacts* facts) {
  mount.set_source(node.child("source").attribute("dir").value());
  facts->virtiofs = node.child("driver").attribute("type").value() == std::string("virtiofs");
  if (!facts->virtiofs) mount.set_readonly(!node.child("readonly").empty());
  *facts->config.add_mounts() = std::move(mount);
}

void ReadFolders(OwnNodes own, DomainFacts* facts) {
  const Config said = facts->config;
  facts->config.clear_mounts();
  for (const Mount& mount : said.mounts()) {  // in the order of the file
    auto it = own.find(FolderAlias(MountTag(mount)));
    if (it == own.end()) continue;
    ReadFolder(it->second, mount, facts);
    own.erase(it);
  }
  for (const auto& [alias, node] : own) {
    if (node.name() != std::string("filesystem")) continue;
    Mount mount;
    mount.set_tag(node.child("target").attribute("dir").value());
    mount.set_target(mount.tag());
    facts->unclaimed_tags.insert(mount.tag());
    ReadFolder(node, std::move(mount), facts);
  }
}

// A metadata element that somebody damaged leaves the XML's own facts.
void ReadMetadata(xml_node domain, DomainFacts* facts) {
  xml_node machine = domain.child("metadata").child("rum:machine");
  facts->owner = machine.attribute("owner").value();
  facts->disk_nonce = machine.attribute("disk").value();
  facts->base_path = machine.attribute("image").value();
  facts->base_mark = machine.attribute("image-mark").value();
  facts->started_default = machine.attribute("started").value() == std::string("default");
  for (xml_node volume : machine.children("rum:volume")) {
    if (!facts->own_volumes.has_value()) facts->own_volumes.emplace();
    facts->own_volumes->insert(volume.attribute("path").value());
  }
  for (xml_node network : machine.children("rum:network")) {
    facts->own_networks.insert(network.attribute("name").value());
  }
  OwnMetadata said = ReadOwnMetadata(domain);
  facts->machine_id = std::move(said.machine_id);
  facts->config = std::move(said.config);
  // Of a build that wrote it as it was.
  if (facts->config.has_image()) {
    facts->config.mutable_image()->set_base(ShownUrl(facts->config.image().base()));
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
  ReadResources(domain, facts.config.mutable_resources());
  facts.room = ReadRoom(domain);
  ReadMachine(domain, auto_type, &facts.config);
  xml_node devices = domain.child("devices");
  // Somebody else's devices are no part of what rum.toml says.
  const OwnNodes own = FindOwnDevices(domain, {facts.machine_id, facts.config, ""});
  ReadDisks(own, &facts);
  ReadCards(own, &facts);
  ReadFolders(own, &facts);
  for (xml_node folder : devices.children("filesystem")) {
    const auto is_it = [&](const auto& device) { return device.second == folder; };
    if (std::none_of(own.begin(), own.end(), is_it))
      facts.others_tags.insert(folder.child("target").attribute("dir").value());
  }
  if (const auto serial = own.find(kSerialAlias); serial != own.end())
    facts.console_log = serial->second.child("log").attribute("file").value();
  for (xml_node card : devices.children("interface")) {
    const std::string network = card.child("source").attribute("network").value();
    if (!network.empty()) facts.networks.push_back(network);
  }
  for (xml_node channel : devices.children("channel")) {
    const std::string name = channel.child("target").attribute("name").value();
    if (name != kAgentChannel && name != kForwardChannel) continue;
    facts.channel_paths[name] = channel.child("source").attribute("path").value();
  }
  facts.vsock_cid = devices.child("vsock").child("cid").attribute("address").as_uint();
  return facts;
}

}  // namespace rum
