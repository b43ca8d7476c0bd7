// What an edit of a definition sets, and what it leaves to whom it belongs.
#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/controller/hypervisor/definitions.h"

namespace rum {
namespace {

using google::protobuf::util::MessageDifferencer;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string Edit(const std::string& xml, const DomainParts& parts) {
  const auto edited = EditDomainXml(xml, parts);
  EXPECT_TRUE(edited.ok()) << edited.status();
  if (!edited.ok()) return "";
  EXPECT_EQ(*EditDomainXml(*edited, parts), *edited) << "a second edit changes it again";
  return *edited;
}

DomainFacts Read(const std::string& xml) {
  const auto facts = ReadDomainXml(xml, "qemu");
  EXPECT_TRUE(facts.ok()) << facts.status();
  return facts.ok() ? *facts : DomainFacts();
}

void ExpectSays(const std::string& xml, const DomainParts& parts) {
  const DomainFacts facts = Read(xml);
  EXPECT_TRUE(MessageDifferencer::Equals(facts.config, parts.config))
      << facts.config.DebugString() << "is not\n"
      << parts.config.DebugString();
  EXPECT_EQ(facts.root_path, parts.root_path);
  EXPECT_EQ(facts.seed_path, parts.seed_path);
  EXPECT_EQ(facts.drive_paths, parts.drive_paths);
}

// `xml` with one thing of it replaced, as virsh edit does.
std::string With(const std::string& xml, const std::string& old, const std::string& other) {
  const size_t at = xml.find(old);
  EXPECT_NE(at, std::string::npos) << old;
  return at == std::string::npos ? xml : std::string(xml).replace(at, old.size(), other);
}

std::string WithDevice(const std::string& xml, const std::string& device) {
  return With(xml, "</devices>", device + "</devices>");
}

TEST(DomainEdit, WhatHoldsIsLeftToTheByte) {
  const std::string xml = Definition("rum.xml");
  ExpectSays(xml, ShopParts());
  EXPECT_EQ(Edit(xml, ShopParts()), xml);
}

TEST(DomainEdit, RefusesWhatIsNoDomain) {
  for (const char* text : {"", "<domain", "<network/>"}) {
    EXPECT_EQ(EditDomainXml(text, ShopParts()).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(DomainEdit, RefusesTheDefinitionOfAnotherMachine) {
  DomainParts parts = ShopParts();
  parts.identity.id = "ffffffffffff";
  EXPECT_EQ(EditDomainXml(Definition("rum.xml"), parts).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(DomainEdit, DevicesOfTheBuildBeforeGetAliasesAndStayWhatTheyAre) {
  const std::string old = Definition("rum_without_aliases.xml");
  ExpectSays(old, ShopParts());
  const std::string edited = Edit(old, ShopParts());
  ExpectSays(edited, ShopParts());
  EXPECT_THAT(ElementsAt(edited, "//devices/*/alias[starts-with(@name, 'ua-rum-')]"),
              testing::SizeIs(16));
  EXPECT_EQ(At(edited, "//disk[alias/@name='ua-rum-drive-data']/target/@dev"), "vdc");
  EXPECT_EQ(At(edited, "//interface[alias/@name='ua-rum-net-lab']/source/@network"), "lab");
  for (const char* what : {"//address", "//mac", "//target", "//source", "//controller/@index"}) {
    EXPECT_EQ(ElementsAt(edited, what), ElementsAt(old, what)) << what;
  }
}

// By an edit that says nothing else new: for rum.toml the two are the same, so that nothing waits
// for a restart.
// An alias of the build before is a number among the file's cards, which the address may belie.
TEST(DomainEdit, ACardIsKnownByItsAddressBeforeAnOldAlias) {
  std::string xml = Definition("rum_without_aliases.xml");
  xml = With(xml, "<alias name='ua-net0'/>", "");
  xml = With(xml, "<alias name='ua-net1'/>", "<alias name='ua-net0'/>");
  DomainParts parts = ShopParts();
  parts.config.mutable_network()->mutable_interfaces()->RemoveLast();  // lab
  const std::string edited = Edit(xml, parts);
  EXPECT_THAT(ElementsAt(edited, "//interface/source[@network='lab']"), IsEmpty());
  EXPECT_EQ(ElementsAt(edited, "//interface/mac").size(), 2);
}

TEST(DomainEdit, AMachineWithoutAPanicDeviceGetsOneAndStaysWhatItIs) {
  const std::string old = Definition("rum_without_panic.xml");
  ExpectSays(old, ShopParts());
  const std::string edited = Edit(old, ShopParts());
  const std::string now = Definition("rum.xml");
  EXPECT_EQ(ElementsAt(edited, "//panic"), ElementsAt(now, "//panic"));
  const std::string rest = "/domain/*[name()!='devices' and name()!='features']";
  EXPECT_EQ(ElementsAt(edited, rest), ElementsAt(now, rest));
  EXPECT_EQ(ElementsAt(edited, "/domain/features"), ElementsAt(old, "/domain/features"));
  EXPECT_EQ(ElementsAt(edited, "//devices/*[name()!='panic']"),
            ElementsAt(old, "//devices/*[name()!='panic']"));
  EXPECT_TRUE(MessageDifferencer::Equals(Read(edited).config, Read(old).config));
}

TEST(DomainEdit, WhatSomebodySaysOfACrashIsHis) {
  const std::string old = Definition("rum_without_panic.xml");
  const std::string restart = With(old, "<on_crash>destroy", "<on_crash>restart");
  EXPECT_EQ(At(Edit(restart, ShopParts()), "/domain/on_crash"), "restart");
  const std::string without = With(old, "<on_crash>destroy</on_crash>", "");
  EXPECT_THAT(ElementsAt(Edit(without, ShopParts()), "/domain/on_crash"), IsEmpty());
  // What rum once wrote as well, when it was not rum that wrote it.
  const std::string destroy =
      With(Edit(restart, ShopParts()), "<on_crash>restart", "<on_crash>destroy");
  EXPECT_EQ(Edit(destroy, ShopParts()), destroy);
  const std::string nobodys = With(old, "id=\"0123456789ab\"", "");
  EXPECT_EQ(At(Edit(nobodys, ShopParts()), "/domain/on_crash"), "destroy");
}

TEST(DomainEdit, ThereIsOnePanicDeviceAtMostAndTheUsersIsHis) {
  const std::string old = Definition("rum_without_panic.xml");
  for (const char* own :
       {"<panic model=\"hyperv\"/>",
        "<panic model=\"isa\"><address type=\"isa\" iobase=\"0x506\"/></panic>"}) {
    EXPECT_THAT(ElementsAt(Edit(WithDevice(old, own), ShopParts()), "//panic"), ElementsAre(own));
  }
  // Who took it away does not want it.
  std::string gone = Definition("rum.xml");
  const size_t begin = gone.find("<panic");
  gone.erase(begin, gone.find("</panic>") + 8 - begin);
  EXPECT_EQ(Edit(gone, ShopParts()), gone);
}

TEST(DomainEdit, OnlyAMachineWithAnIsaBusGetsAPanicDevice) {
  DomainParts parts = ShopParts();
  for (const char* machine : {"pc", "pc-i440fx-7.2", "pc-q35-6.0", "q35"}) {
    parts.config.mutable_advanced()->set_machine(machine);
    EXPECT_THAT(ElementsAt(MakeDomainXml(parts), "//panic[@model='isa']"), testing::SizeIs(1));
  }
  for (const char* machine : {"virt", "virt-7.2", "pseries", "s390-ccw-virtio", "microvm"}) {
    parts.config.mutable_advanced()->set_machine(machine);
    EXPECT_THAT(ElementsAt(MakeDomainXml(parts), "//panic"), IsEmpty()) << machine;
  }
  parts.connection = ConnectionKind::kTest;
  EXPECT_THAT(ElementsAt(MakeDomainXml(parts), "//panic"), IsEmpty());
}

// The console is the serial port's twin; libvirt writes both.
TEST(DomainEdit, EveryAliasIsOneDevices) {
  const std::string edited = Edit(Definition("rum_without_aliases.xml"), ShopParts());
  for (const std::string& alias : ElementsAt(edited, "//devices/*[name()!='console']/alias")) {
    EXPECT_THAT(ElementsAt(edited, "//devices/*[name()!='console']/alias"),
                Contains(alias).Times(1));
  }
}

// What is not rum's in virt_manager.xml.
const char* const kForeign[] = {
    "/domain/title",
    "/domain/description",
    "/domain/metadata/*[name()!='rum:machine']",
    "/domain/iothreads",
    "/domain/cputune/shares",
    "/domain/os/bootmenu",
    "/domain/features",
    "/domain/cpu/feature",
    "/domain/clock",
    "/domain/on_crash",
    "/domain/pm",
    "//disk[serial='rum.root']/*[name()!='alias']",
    "//disk[target/@dev='vdd']",
    "//controller[@type='usb']",
    "//interface[mac/@address='52:54:00:aa:bb:cc']",
    "//interface/bandwidth",
    "//filesystem[target/@dir='srv']",
    "//channel[@type='spicevmc']",
    "//channel[target/@name='org.qemu.guest_agent.0']",
    "//input",
    "//tpm",
    "//graphics",
    "//sound",
    "//audio",
    "//video",
    "//hostdev",
    "//redirdev",
    "//watchdog",
    "//qemu:commandline/qemu:arg",
};

TEST(DomainEdit, WhatVirtManagerWritesOutlivesTenEdits) {
  const std::string first = Definition("virt_manager.xml");
  const DomainParts parts = ShopParts();
  ExpectSays(first, parts);
  std::vector<DomainParts> edits(10, parts);
  edits[1].config.mutable_resources()->set_memory_mb(1024);
  edits[2].config.mutable_resources()->set_cpus(4);
  edits[3].config.clear_mounts();
  edits[4].config.mutable_drives()->erase("data");
  edits[4].drive_paths.erase("data");
  (*edits[5].config.mutable_drives())["new"].set_size(1 << 30);
  edits[5].drive_paths["new"] = "/var/lib/libvirt/images/rum/new.qcow2";
  edits[6].config.mutable_network()->clear_interfaces();
  edits[7].config.mutable_network()->set_nat(false);
  edits[8].config.mutable_advanced()->set_machine("pc-q35-6.0");
  std::string xml = first;
  for (size_t i = 0; i < edits.size(); ++i) {
    SCOPED_TRACE(i);
    xml = Edit(xml, edits[i]);
    ExpectSays(xml, edits[i]);
    for (const std::string what : kForeign) {
      if (what == "//interface/bandwidth" && i >= 7) continue;  // it was of the card that went
      const std::vector<std::string> before = ElementsAt(first, what);
      EXPECT_FALSE(before.empty()) << what;
      EXPECT_EQ(ElementsAt(xml, what), before) << what;
    }
  }
}

TEST(DomainEdit, PasswordsStay) {
  EXPECT_EQ(At(Edit(Definition("virt_manager.xml"), ShopParts()), "//graphics/@passwd"), "geheim");
}

TEST(DomainEdit, ANewDriveTakesNoTargetThatSomebodyElsesDiskHas) {
  DomainParts parts = ShopParts();
  (*parts.config.mutable_drives())["aaa"].set_size(1 << 30);
  parts.drive_paths["aaa"] = "/aaa.qcow2";
  const std::string edited = Edit(Definition("virt_manager.xml"), parts);
  EXPECT_EQ(At(edited, "//disk[serial='rum-aaa']/target/@dev"), "vde");
  EXPECT_EQ(At(edited, "//disk[serial='rum-cache']/target/@dev"), "vdb");
  EXPECT_EQ(At(edited, "//disk[serial='rum-data']/target/@dev"), "vdc");
  ExpectSays(edited, parts);
}

TEST(DomainEdit, ThereAreTargetsForMoreDrivesThanTheAlphabetHasLetters) {
  DomainParts parts = ShopParts();
  for (int i = 0; i < 30; ++i) {
    (*parts.config.mutable_drives())[absl::StrCat("d", i)].set_size(1 << 30);
    parts.drive_paths[absl::StrCat("d", i)] = absl::StrCat("/", i);
  }
  const std::string edited = Edit(Definition("rum.xml"), parts);
  EXPECT_THAT(ElementsAt(edited, "//disk/target[@dev='vdaa']"), testing::SizeIs(1));
  ExpectSays(edited, parts);
}

// A serial like rum's makes no disk rum's.
TEST(DomainEdit, ADiskWithARumLikeSerialIsItsOwners) {
  const std::string disk =
      "<disk type=\"file\" device=\"disk\"><source file=\"/backup.qcow2\"/>"
      "<target dev=\"vdx\" bus=\"virtio\"/><serial>rum-backup</serial></disk>";
  for (const char* name : {"rum.xml", "rum_without_aliases.xml"}) {
    const std::string xml = WithDevice(Definition(name), disk);
    ExpectSays(xml, ShopParts());
    EXPECT_THAT(ElementsAt(Edit(xml, ShopParts()), "//disk[serial='rum-backup']"),
                ElementsAre(disk));
  }
}

// With the metadata damaged, the file tells.
TEST(DomainEdit, ADriveIsRecognisedByItsFileWhereNothingElseTells) {
  std::string xml = Definition("rum_without_aliases.xml");
  const size_t config = xml.find("<rum:config>");
  xml = xml.erase(config, xml.find("</rum:config>") - config + 13);
  EXPECT_EQ(Read(xml).drive_paths, ShopParts().drive_paths);
  EXPECT_EQ(Read(xml).seed_path, ShopParts().seed_path);
  const std::string edited = Edit(xml, ShopParts());
  ExpectSays(edited, ShopParts());
  EXPECT_EQ(ElementsAt(edited, "//disk/target"), ElementsAt(xml, "//disk/target"));
  EXPECT_EQ(ElementsAt(edited, "//filesystem/address"), ElementsAt(xml, "//filesystem/address"));
}

TEST(DomainEdit, AnEmptyTrayOfSomebodysIsNotTheSeeds) {
  const std::string tray =
      "<disk type=\"file\" device=\"cdrom\"><target dev=\"sdb\" bus=\"sata\"/></disk>";
  std::string xml = WithDevice(Definition("rum.xml"), tray);
  EXPECT_EQ(Edit(xml, ShopParts()), xml);
  xml = With(xml, absl::StrCat("<source file='", ShopParts().seed_path, "'/>"), "");
  EXPECT_EQ(Read(xml).seed_path, "");
  const std::string edited = Edit(xml, ShopParts());
  ExpectSays(edited, ShopParts());
  EXPECT_EQ(At(edited, "//disk[source/@file='" + ShopParts().seed_path + "']/target/@dev"), "sda");
  EXPECT_THAT(ElementsAt(edited, "//disk"), Contains(tray));
}

TEST(DomainEdit, ADiskThatWasSwappedStaysSwapped) {
  DomainParts parts = ShopParts();
  std::string xml = Definition("rum.xml");
  xml = With(xml, absl::StrCat("<source file='", parts.root_path, "'/>"),
             "<source dev='/dev/vg/root'><seclabel model='dac' relabel='no'/></source>");
  xml = With(xml, "<disk type='file' device='disk'>", "<disk type='block' device='disk'>");
  xml = With(xml, "type='qcow2'", "type='raw' cache='none'");
  EXPECT_EQ(Read(xml).root_path, "/dev/vg/root");
  parts.root_path = "/dev/vg/root";
  parts.config.mutable_resources()->set_memory_mb(512);
  const std::string edited = Edit(xml, parts);
  EXPECT_EQ(ElementsAt(edited, "//disk[1]/*"), ElementsAt(xml, "//disk[1]/*"));
  EXPECT_EQ(At(edited, "//disk[1]/@type"), "block");
}

TEST(DomainEdit, ReadsWhatADiskStandsOnWhateverItIs) {
  const std::string xml = Definition("rum.xml");
  const std::string file = absl::StrCat("<source file='", ShopParts().drive_paths["data"], "'/>");
  for (const auto& [source, path] : std::map<std::string, std::string>{
           {"<source dev='/dev/sdx'/>", "/dev/sdx"},
           {"<source protocol='rbd' name='pool/data'><host name='h'/></source>", "pool/data"},
           {"<source pool='fast' volume='data'/>", "fast/data"}}) {
    EXPECT_EQ(Read(With(xml, file, source)).drive_paths["data"], path);
  }
}

TEST(DomainEdit, AFreshDiskTakesThePlaceOfTheOldOne) {
  DomainParts parts = ShopParts();
  parts.root_path = "/fresh.qcow2";
  const std::string xml = With(Definition("rum.xml"), "<target dev='vda' bus='virtio'/>",
                               "<backingStore type='file'><source file='/old'/></backingStore>"
                               "<target dev='vda' bus='virtio'/>");
  const std::string edited = Edit(xml, parts);
  ExpectSays(edited, parts);
  EXPECT_EQ(At(edited, "//disk[1]/source/@file"), "/fresh.qcow2");
  EXPECT_EQ(At(edited, "//disk[1]/driver/@discard"), "unmap");
  EXPECT_THAT(edited, testing::Not(HasSubstr("backingStore")));
}

TEST(DomainEdit, SomebodyElsesCardAndFolderAreNoPartOfTheConfig) {
  const std::string xml =
      WithDevice(Definition("rum.xml"),
                 "<interface type='bridge'><mac address='52:54:00:01:02:03'/><source bridge='br0'/>"
                 "</interface><interface type='network'><source network='lab'/></interface>"
                 "<filesystem type='mount'><source dir='/a'/><target dir='b'/></filesystem>");
  ExpectSays(xml, ShopParts());
  EXPECT_EQ(Edit(xml, ShopParts()), xml);
  EXPECT_THAT(Read(xml).networks, Contains("lab").Times(2)) << "which a start needs";
}

TEST(DomainEdit, WhatVirshTookFromRumsDevicesShowsAndComesBack) {
  std::string xml = Definition("rum.xml");
  xml = With(xml, "<source network='lab'/>", "<source network='other' portgroup='red'/>");
  xml = With(xml, "<source network='default'/>", "<source bridge='br0'/>");
  const Config found = Read(xml).config;
  EXPECT_FALSE(found.network().nat());
  ASSERT_EQ(found.network().interfaces_size(), 2);
  EXPECT_EQ(found.network().interfaces(1).network(), "other");
  const std::string edited = Edit(xml, ShopParts());
  ExpectSays(edited, ShopParts());
  EXPECT_EQ(At(edited, "//source/@portgroup"), "");
  EXPECT_THAT(ElementsAt(edited, "//interface"), testing::SizeIs(3));
}

// Each has a way out; what a name of a network in the file stands for is another matter.
TEST(DomainEdit, ACardThatSomebodyPutOnABridgeStaysThere) {
  std::string xml = Definition("rum.xml");
  const auto bridge = [&](const std::string& network) {
    const size_t mac = xml.rfind("<mac", xml.find(absl::StrCat("<source network='", network)));
    const size_t type = xml.rfind("type='network'", mac);
    xml.replace(type, 14, "type='bridge'");
    xml = With(xml, absl::StrCat("<source network='", network, "'/>"),
               "<source bridge='br0'/><virtualport type='openvswitch'/>");
  };
  bridge("default");
  bridge("lab");
  EXPECT_EQ(Edit(xml, ShopParts()), xml);
  // Whose network it was on, what rum made tells; a definition of before that was noted does not.
  DomainParts unknown = ShopParts();
  unknown.config.mutable_network()->mutable_interfaces(1)->set_joined(false);
  ExpectSays(xml, unknown);
  ExpectSays(With(xml, "<rum:config>", "<rum:volume path='/v'/><rum:config>"), ShopParts());
}

TEST(DomainEdit, WhatSomebodyGaveRumsDevicesStays) {
  std::string xml = Definition("rum.xml");
  xml = With(xml, "discard='unmap'/>", "discard='unmap' cache='none' iothread='1'/>");
  xml = With(xml, "<serial>rum.root</serial>",
             "<iotune><total_iops_sec>40</total_iops_sec></iotune><serial>rum.root</serial>"
             "<boot order='1'/>");
  xml = With(xml, "<model type='virtio'/>",
             "<model type='e1000e'/><link state='down'/><mtu size='1400'/>");
  xml = With(xml, "<driver type='virtiofs'/>", "<driver type='virtiofs' queue='1024'/>");
  EXPECT_EQ(Edit(xml, ShopParts()), xml);
}

// As `virsh update-device --config` does.
TEST(DomainEdit, ADeviceWhoseAliasWasLostIsStillTheSame) {
  std::string xml = Definition("rum.xml");
  for (const char* alias : {"root", "drive-data", "seed", "nat", "net-lab", "agent", "vsock"}) {
    xml = With(xml, absl::StrCat("<alias name='ua-rum-", alias, "'/>"), "");
  }
  ExpectSays(xml, ShopParts());
  const std::string edited = Edit(xml, ShopParts());
  ExpectSays(edited, ShopParts());
  for (const char* kind : {"//disk", "//interface", "//channel", "//vsock"}) {
    EXPECT_EQ(ElementsAt(edited, kind).size(), ElementsAt(xml, kind).size()) << kind;
  }
}

TEST(DomainEdit, AnAliasOfTheUsersOwnStays) {
  const std::string xml = With(Definition("rum.xml"), "'ua-rum-root'", "'ua-disk-of-ada'");
  EXPECT_EQ(Edit(xml, ShopParts()), xml);
}

TEST(DomainEdit, ADriveThatSomebodyDetachedComesBackAndTheOthersStayWhereTheyAre) {
  std::string xml = Definition("rum.xml");
  const size_t begin = xml.find("<disk", xml.find("rum.root"));
  xml.erase(begin, xml.find("</disk>", begin) + 7 - begin);
  EXPECT_EQ(Read(xml).config.drives().count("cache"), 0u);
  const std::string edited = Edit(xml, ShopParts());
  ExpectSays(edited, ShopParts());
  EXPECT_EQ(At(edited, "//disk[serial='rum-data']/target/@dev"), "vdc");
  EXPECT_EQ(At(edited, "//disk[serial='rum-cache']/target/@dev"), "vdb");
}

TEST(DomainEdit, WhatSomebodyTookAwayOfWhatTheFileDoesNotNameStaysAway) {
  std::string xml = Definition("rum.xml");
  for (const char* kind : {"rng", "serial", "console", "memballoon"}) {
    const size_t begin = xml.find(absl::StrCat("<", kind, " "));
    const std::string end = absl::StrCat("</", kind, ">");
    xml.erase(begin, xml.find(end, begin) + end.size() - begin);
  }
  EXPECT_EQ(Edit(xml, ShopParts()), xml);
}

TEST(DomainEdit, MemoryIsSetWholeAndOnlyWhereItDiffers) {
  DomainParts parts = ShopParts();
  std::string room = With(Definition("rum.xml"), "<memory unit='KiB'>2097152</memory>",
                          "<memory unit='GiB'>4</memory>");
  EXPECT_EQ(Edit(room, parts), room) << "room above for the balloon is the user's";
  parts.config.mutable_resources()->set_memory_mb(1024);
  room = With(room, "<memory ", "<maxMemory slots='4' unit='MiB'>512</maxMemory><memory ");
  const std::string edited = Edit(room, parts);
  ExpectSays(edited, parts);
  EXPECT_EQ(At(edited, "/domain/memory"), "1024");
  EXPECT_EQ(At(edited, "/domain/currentMemory"), "1024");
  EXPECT_EQ(At(edited, "/domain/maxMemory"), "1024");
}

// libvirt takes only numbers that agree with each other.
TEST(DomainEdit, ANumaGuestAndATopologyFollowMemoryAndCpus) {
  DomainParts parts = ShopParts();
  std::string xml = Definition("rum.xml");
  xml = With(xml, "<feature policy",
             "<topology sockets='2' cores='1' threads='1'/><numa>"
             "<cell id='0' cpus='0' memory='524288' unit='KiB'/>"
             "<cell id='1' cpus='1' memory='1572864' unit='KiB'/></numa><feature policy");
  EXPECT_EQ(Edit(xml, parts), xml);
  parts.config.mutable_resources()->set_memory_mb(1025);
  parts.config.mutable_resources()->set_cpus(6);
  std::string edited = Edit(xml, parts);
  ExpectSays(edited, parts);
  EXPECT_EQ(At(edited, "//cell[1]/@memory"), "256");
  EXPECT_EQ(At(edited, "//cell[2]/@memory"), "769");
  EXPECT_EQ(At(edited, "//cell[1]/@cpus"), "0-2");
  EXPECT_EQ(At(edited, "//cell[2]/@cpus"), "3-5");
  EXPECT_EQ(At(edited, "//topology/@sockets"), "2");
  EXPECT_EQ(At(edited, "//topology/@cores"), "3");
  parts.config.mutable_resources()->set_cpus(3);
  edited = Edit(edited, parts);
  EXPECT_EQ(At(edited, "//topology/@sockets"), "1");
  EXPECT_EQ(At(edited, "//topology/@cores"), "3");
}

TEST(DomainEdit, RoomForMoreCpusStaysWhileItIsEnough) {
  DomainParts parts = ShopParts();
  const std::string xml =
      With(Definition("rum.xml"), "<vcpu placement='static'>2</vcpu>",
           "<vcpu placement='static' cpuset='0-3' current='2'>4</vcpu><vcpus><vcpu id='0' "
           "enabled='yes' hotpluggable='no'/></vcpus>");
  EXPECT_EQ(Edit(xml, parts), xml);
  const auto with = [&](unsigned cpus) {
    parts.config.mutable_resources()->set_cpus(cpus);
    const std::string edited = Edit(xml, parts);
    ExpectSays(edited, parts);
    return ElementsAt(edited, "/domain/vcpu | /domain/vcpus");
  };
  EXPECT_THAT(with(3), ElementsAre("<vcpu placement=\"static\" cpuset=\"0-3\" current=\"3\">4"
                                   "</vcpu>"));
  EXPECT_THAT(with(4), ElementsAre("<vcpu placement=\"static\" cpuset=\"0-3\">4</vcpu>"));
  EXPECT_THAT(with(5), ElementsAre("<vcpu placement=\"static\" cpuset=\"0-3\">5</vcpu>"));
}

// A machine of an older rum, or one whose room somebody made, is left as it is.
TEST(DomainEdit, RoomForMoreVCpusIsWrittenAsTheFileAsksForIt) {
  const std::string plain = Definition("rum.xml");
  DomainParts parts = ShopParts();
  parts.config.mutable_resources()->set_max_cpus(4);
  std::string edited = Edit(plain, parts);
  EXPECT_THAT(ElementsAt(edited, "/domain/vcpu"),
              ElementsAre("<vcpu placement=\"static\" current=\"2\">4</vcpu>"));
  ExpectSays(edited, parts);
  EXPECT_EQ(Read(edited).room.cpus, 4u);
  EXPECT_FALSE(Read(edited).room.plugs_cpus) << "it is emulated";
  parts.config.mutable_resources()->set_cpus(3);
  EXPECT_EQ(At(Edit(edited, parts), "/domain/vcpu/@current"), "3");
  parts.config.mutable_resources()->set_cpus(4);
  EXPECT_THAT(ElementsAt(Edit(edited, parts), "/domain/vcpu"),
              ElementsAre("<vcpu placement=\"static\">4</vcpu>"));
  // Taken back, and an emulated machine has its fast clock again.
  edited = Edit(edited, ShopParts());
  EXPECT_THAT(ElementsAt(edited, "/domain/vcpu"),
              ElementsAre("<vcpu placement=\"static\">2</vcpu>"));
  EXPECT_EQ(Edit(edited, ShopParts()), edited);
  // `virsh setvcpus --maximum --config` is put right.
  parts = ShopParts();
  parts.config.mutable_resources()->set_max_cpus(4);
  const std::string moved = With(Edit(plain, parts), ">4</vcpu>", ">6</vcpu>");
  EXPECT_EQ(Read(moved).config.resources().max_cpus(), 6u);
  EXPECT_EQ(At(Edit(moved, parts), "/domain/vcpu"), "4");
}

TEST(DomainEdit, WithKvmThereIsRoomForAsManyVCpusAsTheHostHasUnlessSomebodyDoesNotWantThat) {
  const std::string plain =
      With(Definition("rum.xml"), "<domain type='qemu'", "<domain type='kvm'");
  DomainParts parts = ShopParts();
  parts.domain_type = "kvm";
  parts.host_cpus = 16;
  const std::string edited = Edit(plain, parts);
  EXPECT_THAT(ElementsAt(edited, "/domain/vcpu"),
              ElementsAre("<vcpu placement=\"static\" current=\"2\">16</vcpu>"));
  EXPECT_EQ(Read(edited).config.resources().max_cpus(), 0u) << "no word of the file's";
  EXPECT_TRUE(Read(edited).room.plugs_cpus);
  const std::string gone = With(edited, " current=\"2\">16</vcpu>", ">2</vcpu>");
  EXPECT_EQ(At(Edit(gone, parts), "/domain/vcpu"), "2");
  parts.host_cpus = 1;
  EXPECT_EQ(At(Edit(edited, parts), "/domain/vcpu"), "2") << "another host";
  parts.host_cpus = 100000;
  EXPECT_EQ(At(Edit(edited, parts), "/domain/vcpu"), "255");
}

TEST(DomainEdit, RoomForMoreMemoryIsADeviceWithACellAndGoesWithoutATrace) {
  const std::string plain = Definition("rum.xml");
  DomainParts parts = ShopParts();
  Resources* const resources = parts.config.mutable_resources();
  resources->set_max_memory_mb(3073);
  std::string edited = Edit(plain, parts);
  EXPECT_EQ(At(edited, "/domain/memory"), "3074") << "it comes in blocks of 2 MiB";
  EXPECT_EQ(At(edited, "/domain/currentMemory"), "2048");
  EXPECT_EQ(At(edited, "/domain/maxMemory"), "3074");
  EXPECT_EQ(At(edited, "/domain/maxMemory/@slots"), "1");
  EXPECT_EQ(At(edited, "//cell/@memory"), "2048");
  EXPECT_EQ(At(edited, "//cell/@cpus"), "0-1");
  EXPECT_EQ(At(edited, "//memory[@model='virtio-mem']/target/size"), "1026");
  EXPECT_EQ(At(edited, "//memory[@model='virtio-mem']/alias/@name"), "ua-rum-memory");
  ExpectSays(edited, parts);
  EXPECT_EQ(Read(edited).room.boot_mb, 2048u);
  EXPECT_EQ(Read(edited).room.addable_mb, 1026u);

  resources->set_memory_mb(2560);
  edited = Edit(edited, parts);
  ExpectSays(edited, parts);
  EXPECT_EQ(At(edited, "//cell/@memory"), "2560");
  EXPECT_EQ(At(edited, "//memory[@model='virtio-mem']/target/size"), "514");
  resources->set_memory_mb(3073);  // all of it, from the start
  EXPECT_THAT(ElementsAt(Edit(edited, parts), "//numa | //maxMemory | //devices/memory"),
              IsEmpty());

  // On lines of its own, as libvirt writes it.
  const std::string back =
      Edit(absl::StrReplaceAll(edited, {{"<cell ", "\n      <cell "}}), ShopParts());
  ExpectSays(back, ShopParts());
  for (const char* what : {"//numa", "//maxMemory", "//devices/memory"}) {
    EXPECT_THAT(ElementsAt(back, what), IsEmpty()) << what;
  }
  EXPECT_EQ(ElementsAt(back, "//devices/*"), ElementsAt(plain, "//devices/*"));
}

TEST(DomainEdit, RoomForMemoryLeavesOthersModulesAndCells) {
  DomainParts parts = ShopParts();
  parts.config.mutable_resources()->set_max_memory_mb(4096);
  std::string xml = WithDevice(Definition("rum.xml"),
                               "<memory model='dimm'><target><size unit='MiB'>512</size>"
                               "<node>0</node></target></memory>");
  xml = With(xml, "<feature policy",
             "<numa><cell id='0' cpus='0-1' memory='1572864' unit='KiB'/></numa><feature policy");
  const std::string edited = Edit(xml, parts);
  EXPECT_EQ(At(edited, "//cell/@memory"), "1536");
  EXPECT_EQ(At(edited, "/domain/memory"), "4096");
  EXPECT_EQ(At(edited, "//memory[alias/@name='ua-rum-memory']/target/size"), "2048");
  ExpectSays(edited, parts);
  const std::string back = Edit(edited, ShopParts());
  EXPECT_EQ(At(back, "/domain/memory"), "2048");
  EXPECT_THAT(ElementsAt(back, "//devices/memory"), testing::SizeIs(1));
  EXPECT_EQ(At(back, "//cell/@memory"), "1536");
}

// libvirt counts what was added to a running machine in; what its balloon took is not there.
TEST(DomainEdit, OfARunningMachineItIsReadWhatItHasNow) {
  DomainParts parts = ShopParts();
  parts.config.mutable_resources()->set_max_memory_mb(4096);
  const std::string edited = Edit(Definition("rum.xml"), parts);
  const auto with = [&](uint64_t current, uint64_t asked, uint64_t added) {
    std::string live = With(edited, "<currentMemory unit=\"MiB\">2048<",
                            absl::StrCat("<currentMemory unit='MiB'>", current, "<"));
    live = With(live, "<requested unit=\"MiB\">0</requested>",
                absl::StrCat("<requested unit='MiB'>", asked, "</requested><current unit='MiB'>",
                             added, "</current>"));
    return Read(live);
  };
  EXPECT_EQ(with(2048, 0, 0).config.resources().memory_mb(), 2048u);
  EXPECT_EQ(with(2304, 512, 256).config.resources().memory_mb(), 2304u);
  EXPECT_EQ(with(2304, 512, 256).room.asked_mb, 512u);
  EXPECT_EQ(with(1024, 0, 0).config.resources().memory_mb(), 1024u);
  EXPECT_EQ(with(1024, 0, 0).room.balloon_mb, 1024u);
  EXPECT_EQ(with(100, 512, 512).room.balloon_mb, 0u) << "nonsense is no reason to crash";
}

TEST(DomainEdit, SharedMemoryIsAddedToWhatBacksItAlready) {
  std::string xml = Definition("rum.xml");
  const size_t begin = xml.find("<memoryBacking>");
  xml.erase(begin, xml.find("</memoryBacking>") + 16 - begin);
  EXPECT_EQ(At(Edit(xml, ShopParts()), "//memoryBacking/source/@type"), "memfd");
  xml = With(xml, "<vcpu", "<memoryBacking><hugepages/><locked/></memoryBacking><vcpu");
  EXPECT_THAT(ElementsAt(Edit(xml, ShopParts()), "//memoryBacking/*"),
              ElementsAre("<hugepages/>", "<locked/>", "<access mode=\"shared\"/>"));
}

TEST(DomainEdit, MemoryThatCanBeSharedIsThereWithoutAFolderAndOnceOnly) {
  DomainParts parts = ShopParts();
  parts.connection = ConnectionKind::kSystem;
  parts.config.clear_mounts();
  const std::string made = MakeDomainXml(parts);
  EXPECT_EQ(Read(made).room.sharing, Sharing::kLive);
  const auto without = [](std::string xml) {
    const size_t begin = xml.find("<memoryBacking>");
    return xml.erase(begin, xml.find("</memoryBacking>") + 16 - begin);
  };
  EXPECT_EQ(Read(without(made)).room.sharing, Sharing::kNoSharedMemory);
  EXPECT_THAT(ElementsAt(Edit(without(made), parts), "//memoryBacking"), IsEmpty())
      << "who took it away does not want it";
  const std::string older = absl::StrReplaceAll(without(made), {{" shares-memory=\"yes\"", ""}});
  EXPECT_EQ(Read(Edit(older, parts)).room.sharing, Sharing::kLive) << "of a build that had none";
  const std::string theirs =
      With(older, "<vcpu", "<memoryBacking><access mode='private'/></memoryBacking><vcpu");
  EXPECT_EQ(At(Edit(theirs, parts), "//memoryBacking/access/@mode"), "private");
  parts.connection = ConnectionKind::kSession;
  EXPECT_THAT(ElementsAt(MakeDomainXml(parts), "//memoryBacking"), IsEmpty());
}

TEST(DomainEdit, MemoryOfACellMayNotBeShared) {
  DomainParts parts = ShopParts();
  parts.connection = ConnectionKind::kSystem;
  const std::string xml =
      With(MakeDomainXml(parts), "</cpu>",
           "<numa><cell id='0' cpus='0' memory='1' unit='GiB' memAccess='private'/></numa></cpu>");
  EXPECT_EQ(Read(xml).room.sharing, Sharing::kNoSharedMemory);
}

TEST(DomainEdit, AnotherMachineFindsItsPlacesAnew) {
  DomainParts parts = ShopParts();
  parts.config.mutable_advanced()->set_machine("pc");
  const std::string other = Edit(Definition("virt_manager.xml"), parts);
  ExpectSays(other, parts);
  EXPECT_THAT(ElementsAt(other, "//address[@type='pci'] | //controller[@type='pci']"), IsEmpty());
  EXPECT_THAT(ElementsAt(other, "//controller[@type='usb']"), testing::SizeIs(5));
  EXPECT_THAT(ElementsAt(other, "//hostdev"), testing::SizeIs(1));
  parts.config.mutable_advanced()->set_machine("pc-q35-6.0");
  std::string older = Edit(Definition("virt_manager.xml"), parts);
  EXPECT_EQ(At(older, "//os/type/@machine"), "pc-q35-6.0");
  EXPECT_EQ(ElementsAt(older, "//address"), ElementsAt(Definition("virt_manager.xml"), "//address"))
      << "it has the same buses";
  parts.config.mutable_advanced()->set_machine("q35");
  EXPECT_EQ(At(Edit(older, parts), "//os/type/@machine"), "q35") << "libvirt's newest again";
}

TEST(DomainEdit, AProcessorThatRumChoseFollowsTheDomainTypeAndTheUsersOwnDoesNot) {
  DomainParts parts = ShopParts();
  parts.domain_type = "kvm";
  const std::string kvm = Edit(Definition("virt_manager.xml"), parts);
  EXPECT_EQ(At(kvm, "/domain/@type"), "kvm");
  EXPECT_EQ(At(kvm, "//cpu/@mode"), "host-passthrough");
  EXPECT_THAT(ElementsAt(kvm, "//cpu/feature"), IsEmpty());
  EXPECT_THAT(ElementsAt(kvm, "//cpu/topology"), testing::SizeIs(1));
  EXPECT_THAT(ElementsAt(kvm, "//qemu:arg"),
              ElementsAre(HasSubstr("\"-name\""), HasSubstr("debug-threads")));
  parts.domain_type = "qemu";
  parts.tcg_cache = false;
  const std::string back = Edit(kvm, parts);
  EXPECT_EQ(At(back, "//cpu/@mode"), "maximum");
  EXPECT_EQ(At(back, "//cpu/feature/@name"), "erms");
  EXPECT_THAT(ElementsAt(back, "//qemu:arg"), testing::SizeIs(4));
  EXPECT_THAT(ElementsAt(back, "//features/tcg"), IsEmpty()) << "nor does each libvirt know it";

  parts.tcg_cache = true;
  const std::string emulated = Edit(kvm, parts);
  EXPECT_EQ(At(emulated, "//features/tcg/tb-cache"), "131072");
  EXPECT_EQ(At(emulated, "//features/tcg/tb-cache/@unit"), "KiB");
  parts.domain_type = "kvm";
  EXPECT_EQ(ElementsAt(Edit(emulated, parts), "//features"), ElementsAt(kvm, "//features"))
      << "libvirt refuses it there";
  const std::string less = With(emulated, ">131072<", ">65536<");
  EXPECT_EQ(ElementsAt(Edit(less, parts), "//features"), ElementsAt(less, "//features"));

  const std::string own = With(Definition("rum.xml"), "<cpu mode='maximum' check='none'>",
                               "<cpu mode='custom' match='exact' check='none'><model>x</model>");
  EXPECT_EQ(ElementsAt(Edit(own, parts), "//cpu"), ElementsAt(own, "//cpu"));
  EXPECT_THAT(ElementsAt(Edit(Definition("rum.xml"), parts), "//qemu:commandline"), IsEmpty());
}

TEST(DomainEdit, TheUsersArgumentForTheSameThingWins) {
  const std::string xml = With(Definition("rum.xml"), "ioeventfd=off", "ioeventfd=on");
  EXPECT_EQ(Edit(xml, ShopParts()), xml);
}

TEST(DomainEdit, PortsAreNeverFewerThanSomebodyMadeThemOrUses) {
  const std::string xml = Definition("rum.xml");
  const std::string more = With(xml, "ports='8' vectors='19'", "ports='31' vectors='70'");
  EXPECT_EQ(Edit(more, ShopParts()), more);
  const std::string without = With(xml, " ports='8' vectors='19'", "");
  EXPECT_EQ(At(Edit(without, ShopParts()), "//controller[@type='virtio-serial']/@ports"), "8");
  const std::string used =
      Edit(WithDevice(without,
                      "<channel type='unix'><target type='virtio' name='x'/>"
                      "<address type='virtio-serial' controller='0' bus='0' port='12'/></channel>"),
           ShopParts());
  EXPECT_EQ(At(used, "//controller[@type='virtio-serial']/@ports"), "13");
  EXPECT_EQ(At(used, "//controller[@type='virtio-serial']/@vectors"), "29");
}

TEST(DomainEdit, AChannelGoesWhereLibvirtsOwnPlaceIsTooLongAndBack) {
  DomainParts parts = ShopParts();
  const std::string xml = Definition("rum.xml");
  parts.channel_path = "/run/rum/0123456789ab";
  const std::string edited = Edit(xml, parts);
  const std::string source = "//channel[alias/@name='ua-rum-agent']/source/@path";
  EXPECT_EQ(At(edited, source), "/run/rum/0123456789ab.org.rum.agent.0");
  EXPECT_EQ(At(Edit(edited, ShopParts()), source), "");
  // As it was before virt-clone was thought of.
  const std::string old = With(edited, "0123456789ab.org.rum.agent.0", "0123456789ab.agent");
  EXPECT_EQ(Edit(old, parts), edited);
  EXPECT_EQ(At(Edit(old, ShopParts()), source), "");
}

TEST(DomainEdit, TheVsockComesAndGoesWithTheHostUnlessItIsTheUsers) {
  DomainParts parts = ShopParts();
  parts.vsock = false;
  const std::string without = Edit(Definition("rum.xml"), parts);
  EXPECT_THAT(ElementsAt(without, "//vsock"), IsEmpty());
  EXPECT_EQ(At(Edit(without, ShopParts()), "//vsock/cid/@auto"), "yes");
  const std::string own = WithDevice(without, "<vsock><cid auto='no' address='7'/></vsock>");
  EXPECT_EQ(Edit(own, ShopParts()), own);
  EXPECT_EQ(Edit(own, parts), own);
}

TEST(DomainEdit, WhatANewerRumKeepsInTheMetadataStays) {
  std::string xml = With(Definition("rum.xml"), "<rum:config>",
                         "<rum:later kind='x'> a <b/> </rum:later><rum:config>");
  xml = With(xml, "disk=\"", "later=\"1\" disk=\"");
  DomainParts parts = ShopParts();
  EXPECT_EQ(Edit(xml, parts), xml);
  parts.config.mutable_resources()->set_memory_mb(512);
  const std::string edited = Edit(xml, parts);
  ExpectSays(edited, parts);
  EXPECT_EQ(At(edited, "//rum:machine/@later"), "1");
  EXPECT_THAT(edited, HasSubstr("<rum:later kind=\"x\"> a <b/> </rum:later>"));
}

TEST(DomainEdit, ARenamedDomainKeepsItsNewName) {
  DomainParts parts = ShopParts();
  for (const char* name : {"rum.xml", "rum_without_aliases.xml"}) {
    const std::string xml =
        With(Definition(name), "<name>rum-shop-0123456789ab</name>", "<name>shop</name>");
    ExpectSays(xml, parts);
    const std::string edited = Edit(xml, parts);
    ExpectSays(edited, parts);
    EXPECT_EQ(At(edited, "/domain/name"), "shop");
    EXPECT_EQ(ElementsAt(edited, "//mac"), ElementsAt(xml, "//mac"));
    EXPECT_EQ(ElementsAt(edited, "//target"), ElementsAt(xml, "//target"));
  }
}

}  // namespace
}  // namespace rum
