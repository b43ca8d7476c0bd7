#include "controller/hypervisor/domain_xml.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <map>
#include <pugixml.hpp>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "controller/hypervisor/definition.h"

namespace rum {
namespace {

using google::protobuf::util::MessageDifferencer;

constexpr char kHostile[] = "<a href=\"x\">&amp;'</a> ]]> \xc3\xa4 $(id);";

DomainParts SomeParts() {
  DomainParts parts;
  parts.identity = {"/p/dev/rum.toml", "dev", "0123456789ab"};
  Config& config = parts.config;
  config.mutable_image()->set_base("/images/debian-12.qcow2");
  config.mutable_resources()->set_cpus(2);
  config.mutable_resources()->set_memory_mb(2048);
  config.mutable_resources()->set_disk(20ULL << 30);
  config.mutable_network()->set_nat(true);
  config.mutable_user()->set_name("rum");
  config.mutable_advanced()->set_domain_type("auto");
  config.mutable_advanced()->set_machine("q35");
  parts.domain_type = "qemu";
  parts.uuid = DomainUuid(parts.identity);
  parts.disk_nonce = "00112233";
  parts.root_path = "/disks/root.qcow2";
  parts.seed_path = "/disks/seed.iso";
  return parts;
}

Config ReadBack(const std::string& xml, const std::string& auto_type = "qemu") {
  auto facts = ReadDomainXml(xml, auto_type);
  EXPECT_TRUE(facts.ok()) << facts.status();
  return facts.ok() ? facts->config : Config();
}

// xpath of one value, "" when it is not there.
std::string At(const std::string& xml, const std::string& path) {
  pugi::xml_document document;
  document.load_string(xml.c_str());
  return document.select_node(path.c_str()).attribute()
             ? document.select_node(path.c_str()).attribute().value()
             : document.select_node(path.c_str()).node().text().as_string();
}

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  unsigned Below(unsigned n) { return std::uniform_int_distribution<unsigned>(0, n - 1)(engine_); }
  std::string Text() {
    static const char* const kPieces[] = {"a",        "B9", "<", ">",   "&",     "'",  "\"", " ",
                                          "\xc3\xa4", "/",  "-", "]]>", "$(id)", "\\", "\n", "\t"};
    std::string text = "x";
    for (unsigned i = Below(12); i > 0; --i) text += kPieces[Below(std::size(kPieces))];
    return text;
  }

 private:
  std::mt19937 engine_;
};

DomainParts RandomParts(unsigned seed) {
  Random random(seed);
  DomainParts parts = SomeParts();
  parts.connection = static_cast<ConnectionKind>(random.Below(3));
  parts.root_path = "/" + random.Text();
  Config& config = parts.config;
  config.mutable_image()->set_base(random.Text());
  config.mutable_resources()->set_cpus(1 + random.Below(64));
  config.mutable_resources()->set_memory_mb(256 + random.Below(100000));
  config.mutable_network()->set_nat(random.Below(2) == 1);
  config.mutable_network()->set_hostname(random.Text());
  for (unsigned i = random.Below(4); i > 0; --i) {
    Interface* interface = config.mutable_network()->add_interfaces();
    interface->set_network(absl::StrCat(random.Text(), i));
    interface->set_ip(random.Text());
    interface->set_joined(true);
  }
  for (unsigned i = random.Below(4); i > 0; --i) {
    Mount* mount = config.add_mounts();
    mount->set_source("/" + random.Text());
    mount->set_target(absl::StrCat("/", random.Text(), i));
    if (random.Below(2) == 1) mount->set_tag(absl::StrCat(random.Text(), i));
    mount->set_readonly(random.Below(2) == 1);
    mount->set_default_(random.Below(2) == 1);
  }
  for (unsigned i = random.Below(5); i > 0; --i) {
    const std::string name = absl::StrCat("d", i, random.Below(2) == 1 ? random.Text() : "");
    (*config.mutable_drives())[name].set_size(random.Below(1000000));
    parts.drive_paths[name] = "/disks/" + random.Text();
  }
  config.mutable_advanced()->set_autologin(random.Below(2) == 1);
  static const char* const kTypes[] = {"auto", "qemu", "kvm"};
  const std::string type = kTypes[random.Below(3)];
  config.mutable_advanced()->set_domain_type(type);
  parts.domain_type = type == "auto" ? "qemu" : type;
  return parts;
}

TEST(DomainXml, ReadsBackWhatItWrote) {
  for (unsigned seed = 0; seed < 500; ++seed) {
    SCOPED_TRACE(seed);
    DomainParts parts = RandomParts(seed);
    auto facts = ReadDomainXml(MakeDomainXml(parts), "qemu");
    ASSERT_TRUE(facts.ok()) << facts.status();
    EXPECT_TRUE(MessageDifferencer::Equals(facts->config, parts.config))
        << facts->config.DebugString() << parts.config.DebugString();
    EXPECT_EQ(facts->root_path, parts.root_path);
    EXPECT_EQ(facts->seed_path, parts.seed_path);
    EXPECT_EQ(facts->drive_paths, parts.drive_paths);
    EXPECT_EQ(facts->disk_nonce, parts.disk_nonce);
    EXPECT_EQ(facts->uuid, parts.uuid);
  }
}

// Each port has two queues and control has two; the rest has one vector.
TEST(DomainXml, EveryQueueOfThePortsHasAnInterruptOfItsOwn) {
  const std::string xml = MakeDomainXml(SomeParts());
  const std::string controller = "/domain/devices/controller[@type='virtio-serial']/";
  EXPECT_EQ(At(xml, controller + "@ports"), "8");
  EXPECT_EQ(At(xml, controller + "@vectors"), "19");
}

TEST(DomainXml, OnlyAnEmulatedMachineHasArgumentsOfQemus) {
  DomainParts parts = SomeParts();
  const std::string argument = "/domain/qemu:commandline/qemu:arg[2]/@value";
  EXPECT_EQ(At(MakeDomainXml(parts), argument), "virtio-serial-pci.ioeventfd=off");
  parts.domain_type = "kvm";
  EXPECT_EQ(At(MakeDomainXml(parts), argument), "");
  EXPECT_EQ(MakeDomainXml(parts).find("qemu:"), std::string::npos);
}

TEST(DomainXml, KeepsWhatTheSerialConsoleSaysFromEachStartAnew) {
  DomainParts parts = SomeParts();
  parts.console_log = "/state/<a> 'b'.log";
  const std::string xml = MakeDomainXml(parts);
  EXPECT_EQ(At(xml, "/domain/devices/serial/log/@file"), parts.console_log);
  EXPECT_EQ(At(xml, "/domain/devices/serial/log/@append"), "off");
  EXPECT_EQ(ReadDomainXml(xml, "qemu")->console_log, parts.console_log);
  parts.console_log.clear();
  EXPECT_EQ(MakeDomainXml(parts).find("<log"), std::string::npos);
  EXPECT_EQ(ReadDomainXml(MakeDomainXml(parts), "qemu")->console_log, "");
}

// One of an earlier rum, or whose log somebody took away, goes on as it is.
TEST(DomainXml, GivesNoLogToAMachineThatWasMadeWithout) {
  DomainParts parts = SomeParts();
  const std::string before = MakeDomainXml(parts);
  parts.console_log = "/state/console.log";
  const auto edited = EditDomainXml(before, parts);
  ASSERT_TRUE(edited.ok()) << edited.status();
  EXPECT_EQ(*edited, before);
}

// A log of somebody's own serial port is not ours to read or to delete.
TEST(DomainXml, TheLogOfAnotherSerialPortIsNotOurs) {
  std::string xml = MakeDomainXml(SomeParts());
  xml.replace(xml.find("<serial"), 0,
              "<serial type='pty'><log file='/theirs' append='on'/><target port='1'/>"
              "<alias name='ua-theirs'/></serial>");
  EXPECT_EQ(ReadDomainXml(xml, "qemu")->console_log, "");
}

TEST(DomainXml, KeepsPortsAndScriptsOut) {
  DomainParts parts = SomeParts();
  const std::string before = MakeDomainXml(parts);
  parts.config.add_ports()->set_host(8080);
  parts.config.mutable_provision()->mutable_system()->set_script("secret");
  EXPECT_EQ(MakeDomainXml(parts), before);
}

TEST(DomainXml, HasNothingThatOpensTheUrlOfTheImage) {
  DomainParts parts = SomeParts();
  parts.config.mutable_image()->set_base("https://ada:s3cret@example.org/a.qcow2?token=s3cret");
  const std::string xml = MakeDomainXml(parts);
  EXPECT_EQ(xml.find("s3cret"), std::string::npos) << xml;
  EXPECT_EQ(ReadBack(xml).image().base(), "https://example.org/a.qcow2?token=***");
  // A build before wrote it as it was.
  std::string old = xml;
  old.replace(old.find("https://example.org"), 8, "https://ada:s3cret@");
  EXPECT_EQ(ReadBack(old).image().base(), "https://example.org/a.qcow2?token=***");
  const auto edited = EditDomainXml(old, parts);
  ASSERT_TRUE(edited.ok()) << edited.status();
  EXPECT_EQ(edited->find("s3cret"), std::string::npos) << *edited;
}

TEST(DomainXml, SeesWhichNetworksAreJoined) {
  DomainParts parts = SomeParts();
  parts.connection = ConnectionKind::kSystem;
  for (const char* name : {"lan", "lab"}) {
    parts.config.mutable_network()->add_interfaces()->set_network(name);
  }
  parts.config.mutable_network()->mutable_interfaces(1)->set_joined(true);
  parts.networks["lan"] = OwnNetworkName(parts.identity.id, "lan");
  const std::string xml = MakeDomainXml(parts);
  EXPECT_EQ(xml.find("joined"), std::string::npos) << "the cards say it";
  EXPECT_TRUE(MessageDifferencer::Equals(ReadBack(xml), parts.config));
  // A card that somebody put on another one.
  std::string moved = xml;
  moved.replace(moved.find(parts.networks["lan"]), parts.networks["lan"].size(), "other");
  EXPECT_TRUE(ReadBack(moved).network().interfaces(0).joined());
}

TEST(DomainXml, SurvivesHostileNames) {
  DomainParts parts = SomeParts();
  parts.root_path = kHostile;
  parts.seed_path = kHostile;
  parts.identity.config_path = kHostile;
  Mount* mount = parts.config.add_mounts();
  mount->set_source(kHostile);
  mount->set_target(kHostile);
  auto facts = ReadDomainXml(MakeDomainXml(parts), "qemu");
  ASSERT_TRUE(facts.ok()) << facts.status();
  EXPECT_EQ(facts->root_path, kHostile);
  EXPECT_EQ(facts->config.mounts(0).source(), kHostile);
  EXPECT_EQ(facts->config.mounts(0).target(), kHostile);
}

TEST(DomainXml, BelievesTheXmlBeforeItsOwnMetadata) {
  std::string xml = MakeDomainXml(SomeParts());
  xml = absl::StrReplaceAll(
      xml, {{"<memory unit=\"MiB\">2048</memory>", "<memory unit=\"KiB\">1048576</memory>"},
            {"<vcpu>2</vcpu>", "<vcpu placement='static' current='3'>8</vcpu>"}});
  Config config = ReadBack(xml);
  EXPECT_EQ(config.resources().memory_mb(), 1024);
  EXPECT_EQ(config.resources().cpus(), 3);
}

TEST(DomainXml, RemembersWhatTheDiskIsALayerOver) {
  DomainParts parts = SomeParts();
  parts.base_path = "/images/a & \"b\".qcow2";
  parts.base_mark = "12:34.56";
  const DomainFacts facts = *ReadDomainXml(MakeDomainXml(parts), "kvm");
  EXPECT_EQ(facts.base_path, parts.base_path);
  EXPECT_EQ(facts.base_mark, parts.base_mark);
}

TEST(DomainXml, RemembersThatItStartedTheDefaultNetwork) {
  DomainParts parts = SomeParts();
  EXPECT_FALSE(ReadDomainXml(MakeDomainXml(parts), "qemu")->started_default);
  parts.started_default = true;
  EXPECT_TRUE(ReadDomainXml(MakeDomainXml(parts), "qemu")->started_default);
}

TEST(DomainXml, SeesABalloonThatSomebodyMoved) {
  std::string xml = MakeDomainXml(SomeParts());
  const uint64_t memory_mb = ReadDomainXml(xml, "kvm")->config.resources().memory_mb();
  xml.insert(xml.find("<memory"), "<currentMemory unit='MiB'>100</currentMemory>");
  EXPECT_EQ(ReadDomainXml(xml, "kvm")->config.resources().memory_mb(), 100u);
  xml.replace(xml.find(">100<"), 5, ">999999<");
  EXPECT_EQ(ReadDomainXml(xml, "kvm")->config.resources().memory_mb(), memory_mb);
}

TEST(DomainXml, TakesAnExpandedMachineTypeForItsAlias) {
  const std::string xml = MakeDomainXml(SomeParts());
  auto with = [&](const std::string& machine) {
    return ReadBack(absl::StrReplaceAll(
                        xml, {{"machine=\"q35\"", absl::StrCat("machine=\"", machine, "\"")}}))
        .advanced()
        .machine();
  };
  EXPECT_EQ(with("pc-q35-7.2"), "q35");
  EXPECT_EQ(with("pc-i440fx-7.2"), "pc-i440fx-7.2");
  DomainParts parts = SomeParts();
  parts.config.mutable_advanced()->set_machine("pc-q35-6.0");
  EXPECT_EQ(ReadBack(MakeDomainXml(parts)).advanced().machine(), "pc-q35-6.0");
}

TEST(DomainXml, ReadsAutoBackOnlyWhereAutoWouldMeanTheSame) {
  const std::string xml = MakeDomainXml(SomeParts());
  EXPECT_EQ(ReadBack(xml, "qemu").advanced().domain_type(), "auto");
  EXPECT_EQ(ReadBack(xml, "kvm").advanced().domain_type(), "qemu");
}

TEST(DomainXml, SeesACardThatSomebodyTookAway) {
  DomainParts parts = SomeParts();
  parts.config.mutable_network()->add_interfaces()->set_network("lab");
  pugi::xml_document document;
  document.load_string(MakeDomainXml(parts).c_str());
  pugi::xml_node devices = document.child("domain").child("devices");
  devices.remove_child(devices.child("interface"));
  std::ostringstream out;
  document.save(out);
  Config config = ReadBack(out.str());
  EXPECT_FALSE(config.network().nat());
  ASSERT_EQ(config.network().interfaces_size(), 1);
  EXPECT_EQ(config.network().interfaces(0).network(), "lab");
}

TEST(DomainXml, ReadsTheMachinesOwnNetworksBackByTheirNamesInTheFile) {
  DomainParts parts = SomeParts();
  parts.connection = ConnectionKind::kSystem;
  Interface* lan = parts.config.mutable_network()->add_interfaces();
  lan->set_network("lan");
  lan->set_ip("192.168.50.9");
  parts.networks["lan"] = OwnNetworkName(parts.identity.id, "lan");
  const std::string xml = MakeDomainXml(parts);
  EXPECT_NE(xml.find(parts.networks["lan"]), std::string::npos);
  const Config config = ReadBack(xml);
  ASSERT_EQ(config.network().interfaces_size(), 1);
  EXPECT_EQ(config.network().interfaces(0).network(), "lan");
  EXPECT_EQ(config.network().interfaces(0).ip(), "192.168.50.9");
}

TEST(DomainXml, ReadsADomainThatRumDidNotMakeAndTakesNoneOfItsDevicesForRums) {
  Config config = ReadBack(
      "<domain type='kvm'><name>x</name><memory>524288</memory><vcpu>1</vcpu><os><type "
      "machine='pc-q35-7.2'>hvm</type></os><devices><interface type='network'><source "
      "network='default'/></interface></devices></domain>");
  EXPECT_EQ(config.resources().memory_mb(), 512);
  EXPECT_FALSE(config.network().nat());
  EXPECT_EQ(config.advanced().domain_type(), "kvm");
}

TEST(DomainXml, RefusesWhatIsNoDomain) {
  for (const char* text : {"", "<domain", "<network/>", "\xff\xfe"}) {
    EXPECT_EQ(ReadDomainXml(text, "qemu").status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(DomainXml, SharesFoldersAsTheConnectionCan) {
  DomainParts parts = SomeParts();
  Mount* mount = parts.config.add_mounts();
  mount->set_source("/src");
  mount->set_target("/mnt/src");
  mount->set_readonly(true);
  std::string xml = MakeDomainXml(parts);
  EXPECT_EQ(At(xml, "//filesystem/@accessmode"), "mapped");
  EXPECT_THAT(xml, testing::HasSubstr("<readonly />\n    </filesystem>"));
  EXPECT_EQ(At(xml, "//interface/@type"), "user");
  parts.connection = ConnectionKind::kSystem;
  xml = MakeDomainXml(parts);
  EXPECT_EQ(At(xml, "//filesystem/driver/@type"), "virtiofs");
  EXPECT_EQ(At(xml, "//memoryBacking/access/@mode"), "shared");
  EXPECT_EQ(At(xml, "//interface/source/@network"), "default");
}

TEST(DomainXml, HasAChannelForTheAgentAndOneForForwards) {
  DomainParts parts = SomeParts();
  parts.channel_path = "/run/rum/0123";
  const std::string xml = MakeDomainXml(parts);
  for (const std::string name : {kAgentChannel, kForwardChannel}) {
    const std::string path = "/run/rum/0123." + name;
    const std::string target = "//channel[target/@name='" + name + "']";
    EXPECT_EQ(At(xml, target + "/source/@path"), path);
    EXPECT_EQ(ReadDomainXml(xml, "qemu")->channel_paths.at(name), path);
  }
}

TEST(DomainXml, HasAVsockWhereTheHostHasThem) {
  DomainParts parts = SomeParts();
  EXPECT_EQ(At(MakeDomainXml(parts), "//vsock/cid/@auto"), "");
  parts.vsock = true;
  const std::string xml = MakeDomainXml(parts);
  EXPECT_EQ(At(xml, "//vsock/cid/@auto"), "yes");
  EXPECT_EQ(ReadDomainXml(xml, "qemu")->vsock_cid, 0u) << "which one, the start decides";
  const std::string live =
      absl::StrReplaceAll(xml, {{"<cid auto=\"yes\"", "<cid auto=\"yes\" address=\"7\""}});
  EXPECT_EQ(ReadDomainXml(live, "qemu")->vsock_cid, 7u);
}

TEST(DomainXml, EmulatesWithoutErms) {
  DomainParts parts = SomeParts();
  EXPECT_EQ(At(MakeDomainXml(parts), "//cpu/feature[@name='erms']/@policy"), "disable");
  parts.domain_type = "kvm";
  EXPECT_EQ(At(MakeDomainXml(parts), "//cpu/@mode"), "host-passthrough");
}

TEST(DomainXml, GivesEveryMachineCardsOfItsOwn) {
  MachineIdentity a = {"", "dev", "0123456789ab"};
  MachineIdentity b = {"", "dev", "ba9876543210"};
  EXPECT_NE(CardMac(a, "nat"), CardMac(b, "nat"));
  EXPECT_NE(CardMac(a, "nat"), CardMac(a, "network:lab"));
  EXPECT_EQ(CardMac(a, "nat"), CardMac(a, "nat"));
  EXPECT_NE(DomainUuid(a), DomainUuid(b));
}

TEST(ChannelPath, IsLibvirtsOwnUnlessThatIsTooLongForASocket) {
  MachineIdentity machine;
  machine.name = "a-project-of-some-length";
  machine.id = "0123456789ab";
  unsetenv("XDG_CONFIG_HOME");
  setenv("RUM_RUNTIME_DIR", "/run/user/7/rum", 1);
  setenv("HOME", "/home/ada", 1);
  EXPECT_EQ(ChannelPath(machine, ConnectionKind::kSession), "");
  setenv("HOME", "/home/departments/research/ada.lovelace", 1);
  EXPECT_EQ(ChannelPath(machine, ConnectionKind::kSession), "/run/user/7/rum/0123456789ab");
  EXPECT_EQ(ChannelPath(machine, ConnectionKind::kSystem), "");
  setenv("XDG_CONFIG_HOME", "/c", 1);
  EXPECT_EQ(ChannelPath(machine, ConnectionKind::kSession), "");
}

}  // namespace
}  // namespace rum
