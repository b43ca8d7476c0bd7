#include "controller/hypervisor/live_edit.h"

#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <map>
#include <pugixml.hpp>
#include <set>
#include <sstream>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/hypervisor/definition.h"
#include "controller/hypervisor/device_edit.h"
#include "controller/hypervisor/own_devices.h"
#include "controller/hypervisor/xml_tree.h"

namespace rum {
namespace {

using pugi::xml_node;

// A bus of the old kind takes so many devices.
constexpr unsigned kSlots = 32;

class LiveXml {
 public:
  explicit LiveXml(const std::string& xml)
      : parsed_(document_.load_buffer(xml.data(), xml.size())),
        domain_(document_.child("domain")) {}
  absl::Status status() const {
    if (parsed_ && domain_) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("not the XML of a domain: ", parsed_ ? "no <domain>" : parsed_.description()));
  }
  xml_node domain() const { return domain_; }
  xml_node devices() const { return domain_.child("devices"); }
  // Null: it has none.
  xml_node Drive(const std::string& drive) const { return Own(DriveAlias(DriveSerial(drive))); }
  xml_node Card(const std::string& card) const { return Own(CardAlias(card)); }
  xml_node Folder(const std::string& tag) const { return Own(FolderAlias(tag)); }
  // Whether a card of it that is not rum's is in user mode: QEMU gives all of these one address.
  bool HasUserCardOfOthers() const {
    const auto own = FindOwnDevices(domain_, ReadOwnMetadata(domain_));
    for (xml_node card : devices().children("interface")) {
      if (!Is(card, "type", "user")) continue;
      if (std::none_of(own.begin(), own.end(), [&](const auto& o) { return o.second == card; }))
        return true;
    }
    return false;
  }

 private:
  xml_node Own(const std::string& alias) const {
    const auto own = FindOwnDevices(domain_, ReadOwnMetadata(domain_));
    const auto found = own.find(alias);
    return found == own.end() ? xml_node() : found->second;
  }

  pugi::xml_document document_;
  const pugi::xml_parse_result parsed_;
  const xml_node domain_;
};

std::string TextOfNode(xml_node node) {
  std::ostringstream out;
  node.print(out, "", pugi::format_raw | pugi::format_no_declaration);
  return out.str();
}

absl::Status NoDrive(const std::string& drive) {
  return absl::NotFoundError(absl::StrCat("no drive ", drive, " in its definition"));
}

absl::Status NoFolder(const std::string& tag) {
  return absl::NotFoundError(absl::StrCat("no shared folder ", tag, " in its definition"));
}

std::string SharedFolder(xml_node folder) {
  return folder.child("source").attribute("dir").value();
}

std::set<unsigned> TakenPlaces(xml_node devices, const char* what, unsigned bus) {
  std::set<unsigned> taken;
  for (const pugi::xpath_node& found : devices.select_nodes(".//address[@type='pci']")) {
    const xml_node address = found.node();
    const bool any = what == std::string("bus");
    if (any || address.attribute("bus").as_uint() == bus) {
      taken.insert(address.attribute(what).as_uint());
    }
  }
  return taken;
}

// Whether a device can be plugged in at that address of the domain that has these.
bool IsFreePlace(xml_node devices, xml_node address) {
  if (!Is(address, "type", "pci")) return false;
  const unsigned bus = address.attribute("bus").as_uint();
  for (xml_node controller : devices.children("controller")) {
    if (!Is(controller, "type", "pci") || controller.attribute("index").as_uint() != bus) continue;
    if (Is(controller, "model", "pcie-root-port"))
      return TakenPlaces(devices, "bus", 0).count(bus) == 0;
    if (!Is(controller, "model", "pci-root")) return false;
    return TakenPlaces(devices, "slot", bus).count(address.attribute("slot").as_uint()) == 0;
  }
  return false;
}

absl::Status NoCard(const std::string& card) {
  return absl::NotFoundError(absl::StrCat("no card ", card, " in its definition"));
}

LiveCard AsLiveCard(xml_node card) {
  return {TextOfNode(card), card.child("source").attribute("network").value()};
}

// Elements of the namespace as its only prefix has them, without it: libvirt adds it.
void DropPrefix(xml_node node) {
  const std::string prefix = absl::StrCat(kMetadataPrefix, ":");
  if (absl::StartsWith(node.name(), prefix)) {
    node.set_name(std::string(node.name()).substr(prefix.size()).c_str());
  }
  node.remove_attribute(absl::StrCat("xmlns:", kMetadataPrefix).c_str());
  for (xml_node child : node.children()) DropPrefix(child);
}

}  // namespace

absl::StatusOr<std::string> DriveToPlug(const std::string& definition, const std::string& live,
                                        const std::string& drive) {
  const LiveXml next(definition), now(live);
  if (!next.status().ok()) return next.status();
  if (!now.status().ok()) return now.status();
  xml_node disk = next.Drive(drive);
  if (!disk) return NoDrive(drive);
  disk.remove_child("address");
  std::set<std::string> taken;
  for (xml_node other : now.domain().child("devices").children("disk")) {
    taken.insert(other.child("target").attribute("dev").value());
  }
  Set(disk.child("target"), "dev", FreeTargetName("vd", 1, taken));
  return TextOfNode(disk);
}

absl::StatusOr<std::string> DriveToUnplug(const std::string& live, const std::string& drive) {
  const LiveXml now(live);
  if (!now.status().ok()) return now.status();
  const xml_node disk = now.Drive(drive);
  if (!disk) return NoDrive(drive);
  return TextOfNode(disk);
}

absl::StatusOr<LiveCard> CardToPlug(const std::string& definition, const std::string& live,
                                    const std::string& card) {
  const LiveXml next(definition), now(live);
  if (!next.status().ok()) return next.status();
  if (!now.status().ok()) return now.status();
  xml_node node = next.Card(card);
  if (!node) return NoCard(card);
  if (Is(node, "type", "user") && now.HasUserCardOfOthers()) {
    return absl::FailedPreconditionError(
        "the machine has a card in user mode that is not rum's: a second one would get the same "
        "address");
  }
  now.devices().remove_child(now.Card(card));  // it goes before
  if (!IsFreePlace(now.devices(), node.child("address"))) node.remove_child("address");
  return AsLiveCard(node);
}

absl::StatusOr<LiveCard> CardToUnplug(const std::string& live, const std::string& card) {
  const LiveXml now(live);
  if (!now.status().ok()) return now.status();
  const xml_node node = now.Card(card);
  if (!node) return NoCard(card);
  return AsLiveCard(node);
}

absl::StatusOr<std::string> FolderToAttach(const std::string& definition, const std::string& live,
                                           const std::string& tag) {
  const LiveXml next(definition), now(live);
  if (!next.status().ok()) return next.status();
  if (!now.status().ok()) return now.status();
  xml_node folder = next.Folder(tag);
  if (!folder) return NoFolder(tag);
  const xml_node there = now.Folder(tag);
  if (there && SharedFolder(there) == SharedFolder(folder))
    return absl::AlreadyExistsError(absl::StrCat("the machine has the shared folder ", tag));
  for (xml_node other : now.domain().child("devices").children("filesystem")) {
    if (other == there || !Is(other.child("target"), "dir", tag)) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("another shared folder of the machine, which is not rum's, has the tag ", tag,
                     ": choose another one (tag = \"...\")"));
  }
  folder.remove_child("address");
  return TextOfNode(folder);
}

absl::StatusOr<std::string> FolderToDetach(const std::string& live, const std::string& tag) {
  const LiveXml now(live);
  if (!now.status().ok()) return now.status();
  const xml_node folder = now.Folder(tag);
  if (!folder) return NoFolder(tag);
  return TextOfNode(folder);
}

absl::StatusOr<std::string> MetadataWith(const std::string& live,
                                         const std::function<void(Config* config)>& edit) {
  const LiveXml now(live);
  if (!now.status().ok()) return now.status();
  xml_node machine = now.domain().child("metadata").child("rum:machine");
  if (!machine.child("rum:config")) {
    return absl::FailedPreconditionError("the running domain has no metadata of rum's");
  }
  Config config = ReadOwnMetadata(now.domain()).config;
  const Config before = config;
  edit(&config);
  if (google::protobuf::util::MessageDifferencer::Equals(before, config)) return "";
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  // Cannot fail: a message without Any fields always has a JSON form.
  (void)google::protobuf::util::MessageToJsonString(config, &json, options);
  machine.child("rum:config").text().set(json.c_str());
  DropPrefix(machine);
  return TextOfNode(machine);
}

std::optional<PlugPorts> PortsOf(const std::string& live) {
  const LiveXml now(live);
  if (!now.status().ok()) return std::nullopt;
  const xml_node devices = now.domain().child("devices");
  const std::set<unsigned> buses = TakenPlaces(devices, "bus", 0);
  PlugPorts ports;
  bool any = false;
  for (xml_node controller : devices.children("controller")) {
    if (!Is(controller, "type", "pci")) continue;
    if (Is(controller, "model", "pcie-root-port")) {
      any = true;
      ++ports.all;
      if (buses.count(controller.attribute("index").as_uint()) == 0) ++ports.free;
    } else if (Is(controller, "model", "pci-root")) {
      any = true;
      std::set<unsigned> slots = TakenPlaces(devices, "slot", 0);
      slots.insert({0, 1});  // the bridge to the host, and what comes with the board
      ports.all += kSlots;
      ports.free += kSlots - static_cast<unsigned>(slots.size());
    }
  }
  return any ? std::optional<PlugPorts>(ports) : std::nullopt;
}

}  // namespace rum
