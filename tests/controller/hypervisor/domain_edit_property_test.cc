// For any definition with anything of others' in it, and any change of rum.toml: an edit makes true
// what the file says, a second one changes nothing, and nothing of the others' is lost or moved.
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "absl/strings/str_cat.h"
#include "controller/hypervisor/definition.h"
#include "tests/controller/hypervisor/definitions.h"

namespace rum {
namespace {

using google::protobuf::util::MessageDifferencer;
using pugi::xml_node;

// With what others add, each marked, and where. MARK becomes the mark.
struct Addition {
  const char* parent;
  const char* xml;
};
constexpr Addition kAdditions[] = {
    {"/domain", "<title MARK>x &lt;&amp;&gt; \xc3\xa4</title>"},
    {"/domain", "<cputune MARK><vcpupin vcpu='0' cpuset='1-3,^2'/></cputune>"},
    {"/domain", "<numatune MARK><memory mode='strict' nodeset='0'/></numatune>"},
    {"/domain", "<launchSecurity MARK type='sev'><policy>0x3</policy></launchSecurity>"},
    {"/domain", "<seclabel MARK type='dynamic' model='dac' relabel='yes'/>"},
    {"/domain/metadata", "<a:b xmlns:a='urn:a' MARK>  <![CDATA[ <c> ]]> <!-- d -->\n</a:b>"},
    {"/domain/os", "<loader MARK readonly='yes' type='pflash'>/ovmf.fd</loader>"},
    {"/domain/devices", "<graphics MARK type='vnc' passwd='a\"b'/>"},
    {"/domain/devices", "<video MARK><model type='qxl'/></video>"},
    {"/domain/devices", "<hostdev MARK mode='subsystem' type='pci'><source/></hostdev>"},
    {"/domain/devices",
     "<disk MARK type='file' device='disk'><source file='/x'/><target dev='vdb' bus='virtio'/>"
     "</disk>"},
    {"/domain/devices",
     "<disk MARK type='network' device='disk'><source protocol='rbd' name='a/b'/><target "
     "dev='vdd' bus='virtio'/><serial>rum-stranger</serial></disk>"},
    {"/domain/devices", "<disk MARK device='cdrom'><target dev='sda' bus='sata'/></disk>"},
    {"/domain/devices",
     "<disk MARK type='block' device='lun'><source dev='/dev/x'/><target dev='vda'/><serial>s"
     "</serial></disk>"},
    {"/domain/devices",
     "<interface MARK type='network'><mac address='52:54:00:00:00:01'/><source "
     "network='default'/></interface>"},
    {"/domain/devices", "<interface MARK type='user'><alias name='ua-mine'/></interface>"},
    {"/domain/devices",
     "<interface MARK type='network'><source network='net1' portgroup='p'/></interface>"},
    {"/domain/devices",
     "<filesystem MARK type='mount'><driver type='virtiofs'/><source dir='/a'/><target "
     "dir='elsewhere'/></filesystem>"},
    {"/domain/devices", "<channel MARK type='spicevmc'><target type='virtio' name='s'/></channel>"},
    {"/domain/devices", "<controller MARK type='virtio-serial' index='1' ports='2'/>"},
    {"/domain/devices", "<controller MARK type='scsi' index='0' model='virtio-scsi'/>"},
    {"/domain/devices", "<rng MARK model='virtio'><backend model='egd'/></rng>"},
    {"/domain/devices", "<memory MARK model='dimm'><target/></memory>"},
    {"/domain/devices", "<panic MARK model='hyperv'/>"},
    {"/domain/devices/disk[serial='rum.root']",
     "<iotune MARK><read_iops_sec>9</read_iops_sec>"
     "</iotune>"},
    {"/domain/devices/disk[serial='rum.root']", "<boot MARK order='1'/>"},
    {"/domain/devices/channel[1]", "<address MARK type='virtio-serial' port='9'/>"},
    {"/domain/qemu:commandline", "<qemu:arg MARK value='-global'/>"},
    {"/domain/qemu:commandline", "<qemu:env MARK name='A' value='B'/>"},
};

std::string TextOf(const pugi::xml_document& document) {
  std::ostringstream out;
  document.save(out, "", pugi::format_raw | pugi::format_no_declaration);
  return out.str();
}

void Load(const std::string& xml, pugi::xml_document* document) {
  document->load_string(xml.c_str(), pugi::parse_full | pugi::parse_ws_pcdata);
}

DomainParts SomeParts() {
  DomainParts parts = ShopParts();
  parts.connection =
      *rc::gen::element(ConnectionKind::kSystem, ConnectionKind::kSession, ConnectionKind::kTest);
  parts.domain_type = *rc::gen::element("qemu", "kvm");
  parts.vsock = *rc::gen::arbitrary<bool>();
  parts.started_default = *rc::gen::arbitrary<bool>();
  if (*rc::gen::arbitrary<bool>()) parts.channel_path = "/run/" + parts.identity.id;
  Config& config = parts.config;
  config.mutable_resources()->set_cpus(*rc::gen::inRange(1, 9));
  config.mutable_resources()->set_memory_mb(*rc::gen::inRange(256, 8192));
  config.mutable_network()->set_nat(*rc::gen::arbitrary<bool>());
  config.mutable_network()->clear_interfaces();
  parts.networks.clear();
  for (const char* name : {"net1", "net 2/ä", "a-name-that-is-longer-than-an-alias-may-be"}) {
    if (*rc::gen::arbitrary<bool>()) continue;
    Interface* const card = config.mutable_network()->add_interfaces();
    card->set_network(name);
    card->set_joined(*rc::gen::arbitrary<bool>());
    if (!card->joined()) parts.networks[name] = OwnNetworkName("0123456789ab", name);
  }
  config.clear_mounts();
  for (const char* target : {"/src", "/a b", "/srv/x"}) {
    if (*rc::gen::arbitrary<bool>()) continue;
    Mount* mount = config.add_mounts();
    mount->set_source(*rc::gen::element("/s1", "/s2"));
    mount->set_target(target);
    mount->set_readonly(*rc::gen::arbitrary<bool>());
  }
  config.clear_drives();
  parts.drive_paths.clear();
  for (const char* name : {"a", "root", "with blanks and more than sixteen"}) {
    if (*rc::gen::arbitrary<bool>()) continue;
    (*config.mutable_drives())[name].set_size(1 << 20);
    parts.drive_paths[name] = absl::StrCat("/drives/", name);
  }
  config.mutable_advanced()->set_domain_type(parts.domain_type);
  return parts;
}

// One definition and what others did to it.
std::string WithAdditions(const std::string& xml) {
  pugi::xml_document document;
  Load(xml, &document);
  int mark = 0;
  for (int i = *rc::gen::inRange(0, 30); i > 0; --i) {
    const Addition addition =
        *rc::gen::elementOf(std::vector<Addition>(std::begin(kAdditions), std::end(kAdditions)));
    xml_node parent = document.select_node(addition.parent).node();
    if (!parent) continue;
    std::string text = addition.xml;
    text.replace(text.find("MARK"), 4, absl::StrCat("mark='", mark++, "'"));
    pugi::xml_document piece;
    Load(text, &piece);
    std::vector<xml_node> children(parent.begin(), parent.end());
    const size_t place = *rc::gen::inRange<size_t>(0, children.size() + 1);
    // QEMU's arguments come in pairs.
    if (place == children.size() || addition.parent == std::string("/domain/qemu:commandline")) {
      parent.append_copy(piece.first_child());
    } else {
      parent.insert_copy_before(piece.first_child(), children[place]);
    }
  }
  return TextOf(document);
}

// What others added, each below what, in order.
std::vector<std::string> Foreign(const std::string& xml) {
  pugi::xml_document document;
  Load(xml, &document);
  std::vector<std::string> found;
  for (const pugi::xpath_node& each : document.select_nodes("//*[@mark]")) {
    std::ostringstream text;
    each.node().print(text, "", pugi::format_raw);
    found.push_back(absl::StrCat(each.node().parent().path(), ": ", text.str()));
  }
  return found;
}

TEST(DomainEditProperty, NothingOfOthersIsLostAndTheSecondEditChangesNothing) {
  EXPECT_TRUE(rc::check([] {
    DomainParts before = SomeParts();
    const std::string xml = WithAdditions(MakeDomainXml(before));
    DomainParts after = SomeParts();
    after.connection = before.connection;  // a machine stays in its libvirt
    const auto edited = EditDomainXml(xml, after);
    RC_ASSERT(edited.ok());
    RC_ASSERT(*EditDomainXml(*edited, after) == *edited);
    RC_ASSERT(Foreign(*edited) == Foreign(xml));
    const auto facts = ReadDomainXml(*edited, "qemu");
    RC_ASSERT(facts.ok());
    if (!MessageDifferencer::Equals(facts->config, after.config)) {
      RC_FAIL(facts->config.DebugString() + "is not\n" + after.config.DebugString());
    }
    RC_ASSERT(facts->drive_paths == after.drive_paths);
    RC_ASSERT(facts->root_path == after.root_path);
    RC_ASSERT(facts->seed_path == after.seed_path);
    // What is true already is left to the byte.
    RC_ASSERT(*EditDomainXml(xml, before) == xml);
  }));
}

TEST(DomainEditProperty, ADefinitionOfTheBuildBeforeLosesNothingEither) {
  EXPECT_TRUE(rc::check([] {
    const std::string xml = WithAdditions(Definition("rum_without_aliases.xml"));
    DomainParts parts = SomeParts();
    parts.connection = ConnectionKind::kSystem;
    const auto edited = EditDomainXml(xml, parts);
    RC_ASSERT(edited.ok());
    RC_ASSERT(*EditDomainXml(*edited, parts) == *edited);
    RC_ASSERT(Foreign(*edited) == Foreign(xml));
    const auto facts = ReadDomainXml(*edited, "qemu");
    RC_ASSERT(facts.ok());
    if (!MessageDifferencer::Equals(facts->config, parts.config)) {
      RC_FAIL(facts->config.DebugString() + "is not\n" + parts.config.DebugString());
    }
  }));
}

}  // namespace
}  // namespace rum
