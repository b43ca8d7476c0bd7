// The elements of a domain that rum.toml speaks of; its devices are in device_edit.cc.
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <cstring>
#include <pugixml.hpp>
#include <set>
#include <sstream>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/hypervisor/definition.h"
#include "controller/hypervisor/device_edit.h"
#include "controller/hypervisor/domain_xml.h"
#include "controller/hypervisor/own_devices.h"
#include "controller/hypervisor/resources_xml.h"
#include "controller/hypervisor/xml_tree.h"

namespace rum {
namespace {

using pugi::xml_node;

// Names what rum made; the same names stay as they are.
void EditOwn(xml_node machine, const char* element, const char* attribute,
             const std::set<std::string>& own) {
  std::set<std::string> present;
  for (xml_node node : machine.children(element)) present.insert(node.attribute(attribute).value());
  if (present == own) return;
  while (machine.remove_child(element)) {
  }
  for (const std::string& name : own) Set(Add(machine, element), attribute, name);
}

// With a panic device, a guest whose kernel gave up stays as it is and libvirt says so; where it is
// destroyed it looks like a QEMU that crashed.
constexpr char kOnCrash[] = "preserve";
constexpr char kOldOnCrash[] = "destroy";  // of the builds that did not note what they wrote

// Of rum's element: it gave a machine without folders memory that can be shared.
constexpr char kSharesMemory[] = "shares-memory";

// What a newer rum wrote beside it stays.
void EditMetadata(xml_node domain, const DomainParts& parts) {
  xml_node machine = Child(Child(domain, "metadata"), "rum:machine");
  Set(machine, "xmlns:rum", "https://rum.dev/xmlns/domain/1");
  Set(machine, "id", parts.identity.id);
  Set(machine, "file", parts.identity.config_path);
  if (!parts.owner.empty()) Set(machine, "owner", parts.owner);
  Set(machine, "disk", parts.disk_nonce);
  SetOrRemove(machine, "image", parts.base_path);
  SetOrRemove(machine, "image-mark", parts.base_path.empty() ? "" : parts.base_mark);
  SetOrRemove(machine, "started", parts.started_default ? "default" : "");
  Set(machine, "on-crash", kOnCrash);
  EditOwn(machine, "rum:volume", "path", parts.own_volumes);
  EditOwn(machine, "rum:network", "name", parts.own_networks);
  Config config = DefinitionFor(parts.config, std::nullopt);
  for (int i = 0; i < config.network().interfaces_size(); ++i) {
    config.mutable_network()->mutable_interfaces(i)->clear_joined();  // the cards say it
  }
  // One message has many texts.
  if (machine.child("rum:config") &&
      google::protobuf::util::MessageDifferencer::Equals(ReadOwnMetadata(domain).config, config)) {
    return;
  }
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  // Cannot fail: a message without Any fields always has a JSON form.
  (void)google::protobuf::util::MessageToJsonString(config, &json, options);
  Child(machine, "rum:config").text().set(json.c_str());
}

// virtiofsd reads and writes the guest's memory itself. It costs nothing, and is there for a folder
// that comes while the machine runs, and when the last one goes: somebody else's device may need it
// too. Without a folder it is written once: somebody who took it away again, or chose for himself,
// does not want it.
void EditBacking(xml_node domain, const DomainParts& parts) {
  if (parts.connection != ConnectionKind::kSystem) return;
  if (parts.config.mounts_size() == 0) {
    xml_node machine = domain.child("metadata").child("rum:machine");
    if (domain.child("memoryBacking") || machine.attribute(kSharesMemory)) return;
    Set(machine, kSharesMemory, "yes");
  }
  xml_node backing = Child(domain, "memoryBacking");
  const xml_node source = backing.child("source");
  const bool shares = backing.child("hugepages") || Is(source, "type", "file");
  if (!shares) Set(Child(backing, "source"), "type", "memfd");
  Set(Child(backing, "access"), "mode", "shared");
}

// Another machine has other buses: libvirt finds the places anew.
void ForgetPlaces(xml_node domain) {
  xml_node devices = domain.child("devices");
  bool ide = false;
  for (xml_node disk : devices.children("disk")) {
    ide = ide || Is(disk.child("target"), "bus", "ide");
  }
  std::vector<xml_node> gone;
  for (xml_node device : devices.children()) {
    for (xml_node address = device.child("address"); address;) {
      const xml_node next = address.next_sibling("address");
      if (Is(address, "type", "pci")) device.remove_child(address);
      address = next;
    }
    if (device.name() != std::string("controller")) continue;
    // What comes with a machine of the other kind.
    if (Is(device, "type", "pci") || Is(device, "model", "piix3-uhci") ||
        (Is(device, "type", "ide") && !ide)) {
      gone.push_back(device);
    }
  }
  for (xml_node device : gone) devices.remove_child(device);
}

// `said`: as rum.toml had it before. What libvirt made of a name stays while the name does, so that
// the guest meets no other hardware for a newer QEMU on the host.
void EditMachine(xml_node domain, const DomainParts& parts, const std::string& said, bool fresh) {
  xml_node os = Child(domain, "os");
  if (fresh) {
    AddText(os, "type", "hvm");
    Set(Add(os, "boot"), "dev", "hd");
  }
  if (parts.connection == ConnectionKind::kTest) return;
  xml_node type = Child(os, "type");
  const std::string wanted = parts.config.advanced().machine();
  const std::string machine = wanted.empty() ? "q35" : wanted;
  const std::string now = type.attribute("machine").value();
  if (IsAliasOf(machine, now) && (said.empty() || said == machine)) return;
  const auto is_q35 = [](const std::string& name) { return absl::StrContains(name, "q35"); };
  if (!now.empty() && is_q35(now) != is_q35(machine)) ForgetPlaces(domain);
  Set(type, "machine", machine);
}

// Of a new machine, and of one that goes from an emulated processor to the host's or back with what
// rum wrote for the other.
void EditCpuModel(xml_node domain, const DomainParts& parts, bool fresh) {
  xml_node cpu = fresh ? Child(domain, "cpu") : domain.child("cpu");
  const bool kvm = parts.domain_type == "kvm";
  if (!fresh && !Is(cpu, "mode", kvm ? "maximum" : "host-passthrough")) return;
  Set(cpu, "mode", kvm ? "host-passthrough" : "maximum");
  for (const char* name : {"check", "migratable"}) cpu.remove_attribute(name);
  const xml_node erms = cpu.find_child_by_attribute("feature", "name", "erms");
  if (kvm) {
    if (Is(erms, "policy", "disable")) cpu.remove_child(erms);
    return;
  }
  if (Is(cpu.child("cache"), "mode", "passthrough")) cpu.remove_child("cache");
  if (erms) return;
  // Emulation is slow at `rep movsb`, and guests copy with it for as long as the CPU offers erms.
  xml_node feature = Add(cpu, "feature");
  Set(feature, "policy", "disable");
  Set(feature, "name", "erms");
}

// QEMU keeps up to 1 GiB of translated code, also of what was in memory before: a guest that
// reboots writes over that, and each write looks through all translations of its page. With less, a
// boot takes four fifths of the time, a reboot three, and the machine 1 GB less of the host
// (docs/benchmarks.md); with much less, code is translated again and again.
constexpr char kTcgCacheKib[] = "131072";

// As EditCpuModel: libvirt takes the element for an emulated processor only.
void EditTcgCache(xml_node domain, const DomainParts& parts) {
  xml_node features = domain.child("features");
  xml_node tcg = features.child("tcg");
  if (parts.domain_type == "qemu") {
    if (tcg || !parts.tcg_cache) return;
    xml_node cache = Add(Add(Child(domain, "features"), "tcg"), "tb-cache");
    Set(cache, "unit", "KiB");
    cache.text().set(kTcgCacheKib);
    return;
  }
  const xml_node cache = tcg.child("tb-cache");
  if (Is(cache, "unit", "KiB") && cache.text().as_string() == std::string(kTcgCacheKib))
    features.remove_child(tcg);
}

// An emulated CPU that only notifies QEMU's main thread waits for it soon after, for the lock that
// this holds meanwhile: it is faster when it does the work itself. libvirt's own ioeventfd is for
// SCSI alone: https://libvirt.org/drvqemu.html#pass-through-of-arbitrary-qemu-commands
constexpr char kOption[] = "-global";
constexpr char kNoEventFd[] = "virtio-serial-pci.ioeventfd=off";

void EditArguments(xml_node domain, const DomainParts& parts) {
  xml_node arguments = domain.child("qemu:commandline");
  xml_node ours;
  for (xml_node arg : arguments.children("qemu:arg")) {
    // The user's own choice too.
    if (absl::StartsWith(arg.attribute("value").value(), "virtio-serial-pci.ioeventfd="))
      ours = arg;
  }
  if (parts.domain_type == "qemu") {
    if (ours) return;
    Set(domain, "xmlns:qemu", "http://libvirt.org/schemas/domain/qemu/1.0");
    arguments = Child(domain, "qemu:commandline");
    for (const char* word : {kOption, kNoEventFd}) Set(Add(arguments, "qemu:arg"), "value", word);
    return;
  }
  const xml_node option = ours.previous_sibling("qemu:arg");
  if (!Is(ours, "value", kNoEventFd) || !Is(option, "value", kOption)) return;
  arguments.remove_child(option);
  arguments.remove_child(ours);
  if (!arguments.child("qemu:arg") && !arguments.child("qemu:env")) {
    domain.remove_child(arguments);
  }
}

// What rum wrote follows rum; what anybody else chose stays. `said`: as the definition was found.
void EditOnCrash(xml_node domain, const OwnMetadata& said) {
  if (said.machine_id.empty()) return;  // nobody knows who wrote it
  const std::string wrote = said.on_crash.empty() ? kOldOnCrash : said.on_crash;
  xml_node now = domain.child("on_crash");
  if (now.text().as_string() == wrote) now.text().set(kOnCrash);
}

void EditDomain(xml_node domain, const DomainParts& parts, bool fresh) {
  const bool test = parts.connection == ConnectionKind::kTest;
  const std::string type = test ? "test" : parts.domain_type;
  const bool other_type = !fresh && !Is(domain, "type", type);
  Set(domain, "type", type);
  if (fresh) {
    AddText(domain, "name", parts.identity.domain_name());
    AddText(domain, "uuid", parts.uuid);
  }
  OwnMetadata said = ReadOwnMetadata(domain);
  EditOnCrash(domain, said);
  // Once: somebody who took it away again does not want it.
  const bool adds_panic = fresh || (!said.machine_id.empty() && said.on_crash.empty());
  if (said.machine_id.empty()) said.machine_id = parts.identity.id;
  EditMetadata(domain, parts);
  EditResources(domain, parts, said);
  EditBacking(domain, parts);
  EditMachine(domain, parts, said.config.advanced().machine(), fresh);
  if (fresh && !test) {
    xml_node features = Add(domain, "features");
    Add(features, "acpi");
    Add(features, "apic");
  }
  if ((fresh || other_type) && !test) {
    EditCpuModel(domain, parts, fresh);
    EditTcgCache(domain, parts);
  }
  if (fresh) {
    if (!test) Set(Add(domain, "clock"), "offset", "utc");
    AddText(domain, "on_poweroff", "destroy");
    AddText(domain, "on_reboot", "restart");
    AddText(domain, "on_crash", kOnCrash);
  }
  EditDevices(domain, parts, said, fresh);
  if (adds_panic && !test) AddPanic(domain);
  if (fresh && !test) AddPlugPorts(domain);
  if (!test) EditArguments(domain, parts);
}

std::string TextOf(const pugi::xml_document& document, unsigned format) {
  std::ostringstream out;
  document.save(out, "  ", format | pugi::format_no_declaration);
  return out.str();
}

}  // namespace

std::string MakeDomainXml(const DomainParts& parts) {
  pugi::xml_document document;
  EditDomain(Add(document, "domain"), parts, true);
  return TextOf(document, pugi::format_default);
}

absl::StatusOr<std::string> EditDomainXml(const std::string& xml, const DomainParts& parts) {
  pugi::xml_document document;
  // To the last space: what others keep in the metadata is not rum's to tidy.
  const pugi::xml_parse_result parsed =
      document.load_buffer(xml.data(), xml.size(), pugi::parse_full | pugi::parse_ws_pcdata);
  const xml_node domain = document.child("domain");
  if (!parsed || !domain) {
    return absl::InvalidArgumentError(
        absl::StrCat("not the XML of a domain: ", parsed ? "no <domain>" : parsed.description()));
  }
  const std::string id = ReadOwnMetadata(domain).machine_id;
  if (!id.empty() && id != parts.identity.id) {
    return absl::FailedPreconditionError(
        absl::StrCat("the definition is of another machine, ", id));
  }
  const std::string before = TextOf(document, pugi::format_raw);
  EditDomain(domain, parts, false);
  std::string after = TextOf(document, pugi::format_raw);
  return after == before ? xml : after;
}

}  // namespace rum
