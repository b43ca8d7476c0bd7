#include "controller/hypervisor/domain_xml.h"

#include <google/protobuf/util/json_util.h>
#include <pwd.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <pugixml.hpp>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "controller/hypervisor/definition.h"

namespace rum {
namespace {

using pugi::xml_node;

void Set(xml_node node, const char* name, const std::string& value) {
  node.append_attribute(name).set_value(value.c_str());
}

xml_node Add(xml_node parent, const char* name) { return parent.append_child(name); }

xml_node AddText(xml_node parent, const char* name, const std::string& text) {
  xml_node node = parent.append_child(name);
  node.text().set(text.c_str());
  return node;
}

void AddMetadata(xml_node domain, const DomainParts& parts) {
  xml_node machine = Add(Add(domain, "metadata"), "rum:machine");
  Set(machine, "xmlns:rum", "https://rum.dev/xmlns/domain/1");
  Set(machine, "id", parts.identity.id);
  Set(machine, "file", parts.identity.config_path);
  if (!parts.owner.empty()) Set(machine, "owner", parts.owner);
  Set(machine, "disk", parts.disk_nonce);
  if (!parts.base_path.empty()) {
    Set(machine, "image", parts.base_path);
    Set(machine, "image-mark", parts.base_mark);
  }
  if (parts.started_default) Set(machine, "started", "default");
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  // Cannot fail: a message without Any fields always has a JSON form.
  (void)google::protobuf::util::MessageToJsonString(DefinitionFor(parts.config, std::nullopt),
                                                    &json, options);
  AddText(machine, "rum:config", json);
}

void AddCpuAndMachine(xml_node domain, const DomainParts& parts) {
  const bool test = parts.connection == ConnectionKind::kTest;
  xml_node os = Add(domain, "os");
  xml_node type = AddText(os, "type", "hvm");
  const std::string& machine = parts.config.advanced().machine();
  if (!test) Set(type, "machine", machine.empty() ? "q35" : machine);
  Set(Add(os, "boot"), "dev", "hd");
  if (test) return;
  xml_node features = Add(domain, "features");
  Add(features, "acpi");
  Add(features, "apic");
  xml_node cpu = Add(domain, "cpu");
  if (parts.domain_type == "kvm") {
    Set(cpu, "mode", "host-passthrough");
  } else {
    // Emulation is slow at `rep movsb`, and guests copy with it for as long as the CPU offers erms.
    Set(cpu, "mode", "maximum");
    xml_node erms = Add(cpu, "feature");
    Set(erms, "policy", "disable");
    Set(erms, "name", "erms");
  }
  Set(Add(domain, "clock"), "offset", "utc");
}

void AddDisk(xml_node devices, const std::string& path, const std::string& target,
             const std::string& serial) {
  xml_node disk = Add(devices, "disk");
  Set(disk, "type", "file");
  Set(disk, "device", "disk");
  xml_node driver = Add(disk, "driver");
  Set(driver, "name", "qemu");
  Set(driver, "type", "qcow2");
  Set(driver, "discard", "unmap");
  Set(Add(disk, "source"), "file", path);
  xml_node dev = Add(disk, "target");
  Set(dev, "dev", target);
  Set(dev, "bus", "virtio");
  AddText(disk, "serial", serial);
}

void AddDisks(xml_node devices, const DomainParts& parts) {
  AddDisk(devices, parts.root_path, "vda", "rum.root");
  char letter = 'b';
  for (const auto& [name, path] : parts.drive_paths) {
    AddDisk(devices, path, std::string("vd") + letter++, DriveSerial(name));
  }
  xml_node seed = Add(devices, "disk");
  Set(seed, "type", "file");
  Set(seed, "device", "cdrom");
  xml_node driver = Add(seed, "driver");
  Set(driver, "name", "qemu");
  Set(driver, "type", "raw");
  Set(Add(seed, "source"), "file", parts.seed_path);
  xml_node dev = Add(seed, "target");
  Set(dev, "dev", "sda");
  Set(dev, "bus", "sata");
  Add(seed, "readonly");
}

void AddCard(xml_node devices, const DomainParts& parts, const std::string& network,
             const std::string& card, const std::string& alias) {
  xml_node node = Add(devices, "interface");
  Set(node, "type", network.empty() ? "user" : "network");
  Set(Add(node, "mac"), "address", CardMac(parts.identity, card));
  if (!network.empty()) Set(Add(node, "source"), "network", network);
  Set(Add(node, "model"), "type", "virtio");
  Set(Add(node, "alias"), "name", alias);
}

void AddCards(xml_node devices, const DomainParts& parts) {
  const bool session = parts.connection == ConnectionKind::kSession;
  if (parts.config.network().nat()) {
    AddCard(devices, parts, session ? "" : "default", "nat", "ua-nat");
  }
  int number = 0;
  for (const Interface& interface : parts.config.network().interfaces()) {
    const auto own = parts.networks.find(interface.network());
    AddCard(devices, parts, own == parts.networks.end() ? interface.network() : own->second,
            "network:" + interface.network(), absl::StrCat("ua-net", number++));
  }
}

void AddFolders(xml_node devices, const DomainParts& parts) {
  for (const Mount& mount : parts.config.mounts()) {
    xml_node node = Add(devices, "filesystem");
    Set(node, "type", "mount");
    // Only root's libvirt can run virtiofsd. It cannot make a folder read-only: there the guest's
    // mount does.
    const bool virtiofs = parts.connection == ConnectionKind::kSystem;
    Set(node, "accessmode", virtiofs ? "passthrough" : "mapped");
    if (virtiofs) Set(Add(node, "driver"), "type", "virtiofs");
    Set(Add(node, "source"), "dir", mount.source());
    Set(Add(node, "target"), "dir", MountTag(mount));
    if (!virtiofs && mount.readonly()) Add(node, "readonly");
  }
}

void AddChannel(xml_node devices, const DomainParts& parts, const char* name, const char* suffix) {
  xml_node channel = Add(devices, "channel");
  Set(channel, "type", "unix");
  if (!parts.channel_path.empty()) {
    xml_node source = Add(channel, "source");
    Set(source, "mode", "bind");
    Set(source, "path", parts.channel_path + suffix);
  }
  xml_node target = Add(channel, "target");
  Set(target, "type", "virtio");
  Set(target, "name", name);
}

// The console's, and what users add, are among them.
constexpr int kPorts = 8;
// One for each queue, of which each port has two and control two, and one for the rest. With fewer
// the guest's driver has one for all queues, which each interrupt asks in turn.
constexpr int kVectors = 2 * (kPorts + 1) + 1;

void AddPorts(xml_node devices) {
  xml_node controller = Add(devices, "controller");
  Set(controller, "type", "virtio-serial");
  Set(controller, "index", "0");
  Set(controller, "ports", absl::StrCat(kPorts));
  Set(controller, "vectors", absl::StrCat(kVectors));
}

// An emulated CPU that only notifies QEMU's main thread waits for it soon after, for the lock that
// this holds meanwhile: it is faster when it does the work itself. libvirt's own ioeventfd is for
// SCSI alone: https://libvirt.org/drvqemu.html#pass-through-of-arbitrary-qemu-commands
void AddArguments(xml_node domain) {
  Set(domain, "xmlns:qemu", "http://libvirt.org/schemas/domain/qemu/1.0");
  xml_node arguments = Add(domain, "qemu:commandline");
  for (const char* word : {"-global", "virtio-serial-pci.ioeventfd=off"}) {
    Set(Add(arguments, "qemu:arg"), "value", word);
  }
}

void AddDevices(xml_node domain, const DomainParts& parts) {
  xml_node devices = Add(domain, "devices");
  AddDisks(devices, parts);
  AddFolders(devices, parts);
  AddCards(devices, parts);
  if (parts.connection == ConnectionKind::kTest) return;
  xml_node serial = Add(devices, "serial");
  Set(serial, "type", "pty");
  Set(Add(serial, "target"), "port", "0");
  AddPorts(devices);
  AddChannel(devices, parts, kAgentChannel, ".agent");
  AddChannel(devices, parts, kForwardChannel, ".forward");
  if (parts.vsock) {
    xml_node vsock = Add(devices, "vsock");
    Set(vsock, "model", "virtio");
    Set(Add(vsock, "cid"), "auto", "yes");
  }
  Set(Add(devices, "memballoon"), "model", "virtio");
  xml_node rng = Add(devices, "rng");
  Set(rng, "model", "virtio");
  Set(AddText(rng, "backend", "/dev/urandom"), "model", "random");
}

}  // namespace

std::string MakeDomainXml(const DomainParts& parts) {
  pugi::xml_document document;
  xml_node domain = Add(document, "domain");
  const bool test = parts.connection == ConnectionKind::kTest;
  Set(domain, "type", test ? "test" : parts.domain_type);
  AddText(domain, "name", parts.name.empty() ? parts.identity.domain_name() : parts.name);
  AddText(domain, "uuid", parts.uuid);
  AddMetadata(domain, parts);
  const std::string memory = absl::StrCat(parts.config.resources().memory_mb());
  Set(AddText(domain, "memory", memory), "unit", "MiB");
  if (parts.connection == ConnectionKind::kSystem && parts.config.mounts_size() > 0) {
    // virtiofsd reads and writes the guest's memory itself.
    xml_node backing = Add(domain, "memoryBacking");
    Set(Add(backing, "source"), "type", "memfd");
    Set(Add(backing, "access"), "mode", "shared");
  }
  AddText(domain, "vcpu", absl::StrCat(parts.config.resources().cpus()));
  AddCpuAndMachine(domain, parts);
  AddText(domain, "on_poweroff", "destroy");
  AddText(domain, "on_reboot", "restart");
  AddText(domain, "on_crash", "destroy");
  AddDevices(domain, parts);
  if (parts.domain_type == "qemu") AddArguments(domain);
  std::ostringstream out;
  document.save(out, "  ", pugi::format_default | pugi::format_no_declaration);
  return out.str();
}

std::string ThisUser() {
  const uid_t uid = geteuid();
  passwd entry{};
  passwd* found = nullptr;
  char buffer[16384];
  const bool named =
      getpwuid_r(uid, &entry, buffer, sizeof buffer, &found) == 0 && found != nullptr;
  return named ? absl::StrCat(uid, " ", entry.pw_name) : absl::StrCat(uid);
}

std::string DomainUuid(const MachineIdentity& identity) {
  std::string hex = Sha256Hex("uuid:" + identity.domain_name()).substr(0, 32);
  hex[12] = '8';  // RFC 9562: a UUID of one's own making
  hex[16] = 'a';
  return absl::StrCat(hex.substr(0, 8), "-", hex.substr(8, 4), "-", hex.substr(12, 4), "-",
                      hex.substr(16, 4), "-", hex.substr(20));
}

std::string CardMac(const MachineIdentity& identity, const std::string& card) {
  const std::string hex = Sha256Hex(absl::StrCat("mac:", identity.domain_name(), ":", card));
  return absl::StrCat("52:54:00:", hex.substr(0, 2), ":", hex.substr(2, 2), ":", hex.substr(4, 2));
}

std::vector<std::string> CardsOf(const Config& config) {
  std::vector<std::string> cards;
  if (config.network().nat()) cards.push_back("nat");
  for (const Interface& interface : config.network().interfaces()) {
    cards.push_back("network:" + interface.network());
  }
  return cards;
}

std::string ChannelPath(const MachineIdentity& identity, ConnectionKind connection) {
  if (connection != ConnectionKind::kSession) return "";
  const char* config = std::getenv("XDG_CONFIG_HOME");
  const char* home = std::getenv("HOME");
  const std::string folder = config != nullptr && *config != '\0' ? config
                             : home != nullptr                    ? absl::StrCat(home, "/.config")
                                                                  : "";
  // libvirt numbers its domains and takes 20 bytes of their names.
  const std::string libvirts =
      absl::StrCat(folder, "/libvirt/qemu/channel/target/domain-99999-",
                   identity.domain_name().substr(0, 20), "/", kForwardChannel);
  if (libvirts.size() < sizeof(sockaddr_un::sun_path)) return "";
  return absl::StrCat(RuntimeDir(), "/", identity.id);
}

}  // namespace rum
