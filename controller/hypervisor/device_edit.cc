#include "controller/hypervisor/device_edit.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/hypervisor/definition.h"
#include "controller/hypervisor/xml_tree.h"

namespace rum {
namespace {

using pugi::xml_node;

// The console's, and what users add, are among them.
constexpr unsigned kPorts = 8;
// One for each queue, of which each port has two and control two, and one for the rest. With fewer
// the guest's driver has one for all queues, which each interrupt asks in turn.
unsigned VectorsFor(unsigned ports) { return 2 * (ports + 1) + 1; }

// A machine of rum's begins with six devices on PCIe; each later one takes a port of its own, and a
// guest boots as fast with so many as with none to spare, but not with many more.
constexpr unsigned kPlugPorts = 14;

// "vda", "vdb" … "vdz", "vdaa"
std::string TargetName(const std::string& prefix, unsigned number) {
  std::string letters;
  for (unsigned rest = number + 1; rest > 0; rest = (rest - 1) / 26) {
    letters.insert(letters.begin(), static_cast<char>('a' + (rest - 1) % 26));
  }
  return prefix + letters;
}

// rum's devices of one domain as they become what the parts say.
class Devices {
 public:
  Devices(xml_node domain, const DomainParts& parts, const OwnMetadata& said)
      : devices_(Child(domain, "devices")), parts_(parts), own_(FindOwnDevices(domain, said)) {}

  void EditDisks();
  void EditFolders();
  void EditCards();
  void EditChannels();
  void EditVsock();
  void AddFurniture();
  void RemoveWhatIsNotWanted();

 private:
  struct Taken {
    xml_node node;
    bool made;
  };
  Taken Take(const char* kind, const std::string& alias);
  template <typename Fits>
  void Claim(const char* kind, const std::string& alias, Fits fits);
  void Name(xml_node device, const std::string& alias);
  void EditDisk(const std::string& alias, const std::string& path, unsigned first_target,
                const std::string& serial);
  void EditCard(const std::string& card, const std::string& network);
  void EditFolder(const Mount& mount);
  void EditChannel(const std::string& name, const char* alias, const char* old_suffix);
  void EditPorts();
  std::string FreeTarget(const std::string& prefix, unsigned first) const;
  bool IsTest() const { return parts_.connection == ConnectionKind::kTest; }

  xml_node devices_;
  const DomainParts& parts_;
  std::map<std::string, xml_node> own_;
  std::set<std::string> wanted_;
};

// rum's device of that alias, made beside the others of its kind where there is none.
Devices::Taken Devices::Take(const char* kind, const std::string& alias) {
  wanted_.insert(alias);
  if (auto there = own_.find(alias); there != own_.end()) {
    // libvirt's test driver keeps no aliases: each look would find them missing.
    if (!IsTest()) Name(there->second, alias);
    return {there->second, false};
  }
  xml_node last;
  for (xml_node device : devices_.children(kind)) last = device;
  xml_node node = last ? devices_.insert_child_after(kind, last) : Add(devices_, kind);
  own_[alias] = node;
  return {node, true};
}

// Takes a device for rum's that cannot be another's: two of what `fits` tells would exclude each
// other.
template <typename Fits>
void Devices::Claim(const char* kind, const std::string& alias, Fits fits) {
  if (own_.count(alias) > 0) return;
  for (xml_node device : devices_.children(kind)) {
    const auto is_it = [&](const auto& own) { return own.second == device; };
    if (fits(device) && std::none_of(own_.begin(), own_.end(), is_it)) {
      own_[alias] = device;
      return;
    }
  }
}

// A name of the user's stays, and what carries it is recognised by what it is.
void Devices::Name(xml_node device, const std::string& alias) {
  const std::string now = device.child("alias").attribute("name").value();
  if (absl::StartsWith(now, "ua-") && !IsOldAlias(now)) return;
  const pugi::xml_node there = device.child("alias");
  Set(there ? there : device.prepend_child("alias"), "name", alias);
}

std::string Devices::FreeTarget(const std::string& prefix, unsigned first) const {
  std::set<std::string> taken;
  for (xml_node disk : devices_.children("disk")) {
    taken.insert(disk.child("target").attribute("dev").value());
  }
  return FreeTargetName(prefix, first, taken);
}

// Another file: nothing that was said of the old one holds for it.
void PointTo(xml_node disk, const std::string& path, const std::string& format) {
  Set(disk, "type", "file");
  Set(Child(disk, "driver"), "type", format);
  disk.remove_child("backingStore");
  disk.remove_child("mirror");
  xml_node source = Child(disk, "source");
  source.remove_attributes();
  source.remove_children();
  Set(source, "file", path);
}

void Devices::EditDisk(const std::string& alias, const std::string& path, unsigned first_target,
                       const std::string& serial) {
  const bool seed = serial.empty();
  Claim("disk", alias, [&](xml_node disk) { return !path.empty() && SourceOf(disk) == path; });
  const Taken disk = Take("disk", alias);
  if (disk.made) {
    Set(disk.node, "type", "file");
    Set(disk.node, "device", seed ? "cdrom" : "disk");
    xml_node driver = Add(disk.node, "driver");
    Set(driver, "name", "qemu");
    Set(driver, "type", seed ? "raw" : "qcow2");
    if (!seed) Set(driver, "discard", "unmap");
    Set(Add(disk.node, "source"), "file", path);
    const std::string free = FreeTarget(seed ? "sd" : "vd", first_target);
    xml_node target = Add(disk.node, "target");
    Set(target, "dev", free);
    Set(target, "bus", seed ? "sata" : "virtio");
    if (seed) Add(disk.node, "readonly");
    if (!seed) AddText(disk.node, "serial", serial);
    Name(disk.node, alias);
    return;
  }
  // The same file stays as it is described: a layer over it, or a device that it was copied to.
  if (!path.empty() && SourceOf(disk.node) != path)
    PointTo(disk.node, path, seed ? "raw" : "qcow2");
  if (!seed && disk.node.child("serial").text().as_string() != serial) {
    Child(disk.node, "serial").text().set(serial.c_str());
  }
}

void Devices::EditDisks() {
  EditDisk(kRootAlias, parts_.root_path, 0, "rum.root");
  for (const auto& [name, path] : parts_.drive_paths) {
    EditDisk(DriveAlias(DriveSerial(name)), path, 1, DriveSerial(name));
  }
  EditDisk(kSeedAlias, parts_.seed_path, 0, "");
}

void Devices::EditCard(const std::string& card, const std::string& network) {
  const std::string mac = CardMac(parts_.identity, card);
  Claim("interface", CardAlias(card),
        [&](xml_node node) { return Is(node.child("mac"), "address", mac); });
  const Taken taken = Take("interface", CardAlias(card));
  xml_node node = taken.node;
  const std::string type = network.empty() ? "user" : "network";
  Set(Child(node, "mac"), "address", mac);
  // A bridge or a device of the host under it is somebody's choice, and a network as well.
  if (taken.made || Is(node, "type", "user") || Is(node, "type", "network")) {
    if (!Is(node, "type", type)) node.remove_child("source");
    Set(node, "type", type);
    if (!network.empty() && !Is(node.child("source"), "network", network)) {
      node.remove_child("source");  // with a port group of the old one
      Set(Add(node, "source"), "network", network);
    }
  }
  if (!taken.made) return;
  Set(Add(node, "model"), "type", "virtio");
  Name(node, CardAlias(card));
}

void Devices::EditCards() {
  const bool session = parts_.connection == ConnectionKind::kSession;
  if (parts_.config.network().nat()) EditCard("nat", session ? "" : "default");
  for (const Interface& interface : parts_.config.network().interfaces()) {
    const auto own = parts_.networks.find(interface.network());
    EditCard("network:" + interface.network(),
             own == parts_.networks.end() ? interface.network() : own->second);
  }
}

void Devices::EditFolder(const Mount& mount) {
  const std::string tag = MountTag(mount);
  Claim("filesystem", FolderAlias(tag),
        [&](xml_node node) { return Is(node.child("target"), "dir", tag); });
  const Taken taken = Take("filesystem", FolderAlias(tag));
  xml_node node = taken.node;
  if (taken.made) {
    Set(node, "type", "mount");
    // Only root's libvirt can run virtiofsd. It cannot make a folder read-only: there the guest's
    // mount does.
    const bool virtiofs = parts_.connection == ConnectionKind::kSystem;
    Set(node, "accessmode", virtiofs ? "passthrough" : "mapped");
    if (virtiofs) Set(Add(node, "driver"), "type", "virtiofs");
  }
  Set(Child(node, "source"), "dir", mount.source());
  Set(Child(node, "target"), "dir", tag);
  if (!Is(node.child("driver"), "type", "virtiofs")) {
    if (!mount.readonly()) node.remove_child("readonly");
    if (mount.readonly()) Child(node, "readonly");
  }
  if (taken.made) Name(node, FolderAlias(tag));
}

void Devices::EditFolders() {
  for (const Mount& mount : parts_.config.mounts()) EditFolder(mount);
}

// The target's name is in the path: by that virt-clone knows that a copy of the machine must not
// have it too, and would otherwise take the socket away from it.
void Devices::EditChannel(const std::string& name, const char* alias, const char* old_suffix) {
  const Taken taken = Take("channel", alias);
  xml_node channel = taken.node;
  if (taken.made) Set(channel, "type", "unix");
  const std::string path = channel.child("source").attribute("path").value();
  const std::string stem = absl::StrCat("/", parts_.identity.id);
  const bool ours =
      absl::EndsWith(path, stem + "." + name) || absl::EndsWith(path, stem + old_suffix);
  if (!parts_.channel_path.empty()) {
    Set(Child(channel, "source"), "mode", "bind");
    Set(channel.child("source"), "path", parts_.channel_path + "." + name);
  } else if (ours) {
    channel.remove_child("source");  // libvirt's own place does now
  }
  if (!taken.made) return;
  xml_node target = Add(channel, "target");
  Set(target, "type", "virtio");
  Set(target, "name", name);
  Name(channel, alias);
}

// Never fewer ports than there are or somebody wanted.
void Devices::EditPorts() {
  Claim("controller", kPortsAlias,
        [](xml_node each) { return Is(each, "type", "virtio-serial") && Is(each, "index", "0"); });
  const Taken taken = Take("controller", kPortsAlias);
  xml_node controller = taken.node;
  Set(controller, "type", "virtio-serial");
  Set(controller, "index", "0");
  unsigned ports = std::max(kPorts, controller.attribute("ports").as_uint());
  for (const char* kind : {"channel", "console"}) {
    for (xml_node each : devices_.children(kind)) {
      const xml_node address = each.child("address");
      if (!Is(address, "type", "virtio-serial") || !Is(address, "controller", "0")) continue;
      ports = std::max(ports, address.attribute("port").as_uint() + 1);
    }
  }
  Set(controller, "ports", absl::StrCat(ports));
  Set(controller, "vectors",
      absl::StrCat(std::max(VectorsFor(ports), controller.attribute("vectors").as_uint())));
  if (taken.made) Name(controller, kPortsAlias);
}

void Devices::EditChannels() {
  EditPorts();
  EditChannel(kAgentChannel, kAgentAlias, ".agent");
  EditChannel(kForwardChannel, kForwardAlias, ".forward");
}

// One is all that a domain can have: the user's own does as well.
void Devices::EditVsock() {
  if (!parts_.vsock) return;
  if (own_.count(kVsockAlias) == 0 && devices_.child("vsock")) return;
  const Taken taken = Take("vsock", kVsockAlias);
  if (!taken.made) return;
  Set(taken.node, "model", "virtio");
  Set(Add(taken.node, "cid"), "auto", "yes");
  Name(taken.node, kVsockAlias);
}

// What a new machine begins with and the user may take away again.
void Devices::AddFurniture() {
  xml_node serial = Take("serial", kSerialAlias).node;
  Set(serial, "type", "pty");
  if (!parts_.console_log.empty()) {
    xml_node log = Add(serial, "log");
    Set(log, "file", parts_.console_log);
    Set(log, "append", "off");
  }
  Set(Add(serial, "target"), "port", "0");
  Name(serial, kSerialAlias);
  xml_node balloon = Take("memballoon", kBalloonAlias).node;
  Set(balloon, "model", "virtio");
  // A guest that needs what was taken from it gets it back, and the host what no guest uses.
  Set(balloon, "autodeflate", "on");
  if (parts_.free_pages) Set(balloon, "freePageReporting", "on");
  // How often the guest tells what of its memory is in use, in seconds: for `rum stats`.
  Set(Add(balloon, "stats"), "period", "10");
  Name(balloon, kBalloonAlias);
  xml_node rng = Take("rng", kRngAlias).node;
  Set(rng, "model", "virtio");
  Set(AddText(rng, "backend", "/dev/urandom"), "model", "random");
  Name(rng, kRngAlias);
}

// Of the kinds that come and go with rum.toml and the host; a newer rum's others stay.
void Devices::RemoveWhatIsNotWanted() {
  for (const auto& [alias, device] : own_) {
    if (wanted_.count(alias) > 0) continue;
    if (absl::StartsWith(alias, kDriveAliases) || absl::StartsWith(alias, kCardAliases) ||
        absl::StartsWith(alias, kFolderAliases) || alias == kNatAlias || alias == kVsockAlias) {
      devices_.remove_child(device);
    } else if (!IsTest()) {
      Name(device, alias);
    }
  }
}

}  // namespace

void EditDevices(xml_node domain, const DomainParts& parts, const OwnMetadata& said, bool fresh) {
  Devices devices(domain, parts, said);
  devices.EditDisks();
  devices.EditFolders();
  devices.EditCards();
  if (parts.connection != ConnectionKind::kTest) {
    devices.EditChannels();
    devices.EditVsock();
    if (fresh) devices.AddFurniture();
  }
  devices.RemoveWhatIsNotWanted();
}

void AddPanic(xml_node domain) {
  const std::string machine = domain.child("os").child("type").attribute("machine").value();
  // Those with an ISA bus. A pSeries or S390 guest tells it without a device, and libvirt writes
  // one by itself: https://libvirt.org/formatdomain.html#panic-device
  const bool isa = absl::StrContains(machine, "q35") || absl::StartsWith(machine, "pc");
  xml_node devices = Child(domain, "devices");
  if (!isa || devices.child("panic")) return;
  xml_node panic = Add(devices, "panic");
  Set(panic, "model", "isa");
  Set(Add(panic, "alias"), "name", kPanicAlias);
}

std::string FreeTargetName(const std::string& prefix, unsigned first,
                           const std::set<std::string>& taken) {
  unsigned number = first;
  while (taken.count(TargetName(prefix, number)) > 0) ++number;
  return TargetName(prefix, number);
}

void AddPlugPorts(xml_node domain) {
  const std::string machine = domain.child("os").child("type").attribute("machine").value();
  if (!absl::StrContains(machine, "q35")) return;
  xml_node devices = Child(domain, "devices");
  // libvirt adds ports to those that are named only where they do not do, and only below a root
  // that is named.
  for (unsigned index = 0; index <= kPlugPorts; ++index) {
    xml_node controller = Add(devices, "controller");
    Set(controller, "type", "pci");
    Set(controller, "index", absl::StrCat(index));
    Set(controller, "model", index == 0 ? "pcie-root" : "pcie-root-port");
  }
}

}  // namespace rum
