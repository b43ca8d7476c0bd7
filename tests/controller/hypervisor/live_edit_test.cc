#include "controller/hypervisor/live_edit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pugixml.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "controller/hypervisor/domain_xml.h"

namespace rum {
namespace {

using testing::HasSubstr;
using testing::Not;

DomainParts Parts(const std::string& machine = "q35") {
  DomainParts parts;
  parts.identity = {"/p/dev/rum.toml", "dev", "0123456789ab"};
  parts.config.mutable_resources()->set_cpus(1);
  parts.config.mutable_resources()->set_memory_mb(512);
  parts.config.mutable_network()->set_nat(true);
  parts.config.mutable_advanced()->set_machine(machine);
  parts.domain_type = "qemu";
  parts.root_path = "/disks/root.qcow2";
  parts.seed_path = "/disks/seed.iso";
  for (const char* drive : {"data", "a-name-longer-than-a-serial"}) {
    (*parts.config.mutable_drives())[drive].set_size(1 << 30);
    parts.drive_paths[drive] = absl::StrCat("/disks/", drive, ".qcow2");
  }
  return parts;
}

std::string Without(DomainParts parts, const std::string& drive) {
  parts.config.mutable_drives()->erase(drive);
  parts.drive_paths.erase(drive);
  return MakeDomainXml(parts);
}

TEST(DriveToPlug, IsTheDefinitionsWithoutItsPlaceAndUnderAFreeName) {
  const std::string definition = absl::StrReplaceAll(
      MakeDomainXml(Parts()),
      {{"<source file=\"/disks/data.qcow2\" />",
        "<source file=\"/disks/data.qcow2\" /><address type=\"pci\" bus=\"0x07\" />"}});
  // Somebody else has a disk where it would be.
  const std::string live = absl::StrReplaceAll(
      Without(Parts(), "data"),
      {{"</devices>", "<disk type='file'><target dev='vdc'/></disk></devices>"}});
  const absl::StatusOr<std::string> disk = DriveToPlug(definition, live, "data");
  ASSERT_TRUE(disk.ok()) << disk.status();
  EXPECT_THAT(*disk, HasSubstr("/disks/data.qcow2"));
  EXPECT_THAT(*disk, HasSubstr("<serial>rum-data</serial>"));
  EXPECT_THAT(*disk, HasSubstr("ua-rum-drive-data"));
  EXPECT_THAT(*disk, HasSubstr("vdd"));
  EXPECT_THAT(*disk, Not(HasSubstr("address")));
  EXPECT_TRUE(absl::IsNotFound(DriveToPlug(live, live, "data").status()));
}

TEST(DriveToUnplug, IsRumsAndNoOther) {
  const std::string live = MakeDomainXml(Parts());
  EXPECT_THAT(*DriveToUnplug(live, "a-name-longer-than-a-serial"),
              HasSubstr("/disks/a-name-longer-than-a-serial.qcow2"));
  const std::string theirs = absl::StrReplaceAll(
      Without(Parts(), "data"), {{"</devices>",
                                  "<disk type='file'><source file='/disks/data.qcow2'/><target "
                                  "dev='vdc'/></disk></devices>"}});
  EXPECT_TRUE(absl::IsNotFound(DriveToUnplug(theirs, "data").status()));
}

// The place by which a guest names it stays, if it can.
TEST(CardToPlug, IsTheDefinitionsAndAtItsPlaceWhereThatIsFree) {
  DomainParts parts = Parts();
  const auto placed = [](std::string xml, const char* bus) {
    return absl::StrReplaceAll(
        xml,
        {{"<model type=\"virtio\" />",
          absl::StrCat("<model type=\"virtio\" /><address type=\"pci\" bus=\"", bus, "\" />")}});
  };
  const std::string definition = placed(MakeDomainXml(parts), "0x07");
  parts.config.mutable_network()->set_nat(false);
  const std::string live = MakeDomainXml(parts);
  const absl::StatusOr<LiveCard> card = CardToPlug(definition, live, "nat");
  ASSERT_TRUE(card.ok()) << card.status();
  EXPECT_EQ(card->network, "");
  EXPECT_THAT(card->xml, HasSubstr("ua-rum-nat"));
  EXPECT_THAT(card->xml, HasSubstr("bus=\"0x07\""));
  EXPECT_THAT(CardToPlug(definition, definition, "nat")->xml, HasSubstr("bus=\"0x07\""))
      << "its own is left before";
  const std::string taken = absl::StrReplaceAll(
      live, {{"</devices>", "<hostdev><address type='pci' bus='0x07'/></hostdev></devices>"}});
  EXPECT_THAT(CardToPlug(definition, taken, "nat")->xml, Not(HasSubstr("bus=")));
  EXPECT_THAT(CardToPlug(placed(MakeDomainXml(Parts()), "0x63"), live, "nat")->xml,
              Not(HasSubstr("bus=")))
      << "no such port";
  EXPECT_TRUE(absl::IsNotFound(CardToPlug(live, live, "nat").status()));
}

// QEMU would give both the same address.
TEST(CardToPlug, IsNoSecondOneInUserMode) {
  DomainParts parts = Parts();
  const std::string definition = MakeDomainXml(parts);
  parts.config.mutable_network()->set_nat(false);
  const std::string live = absl::StrReplaceAll(
      MakeDomainXml(parts),
      {{"</devices>",
        "<interface type='user'><mac address='52:54:00:aa:bb:cc'/></interface></devices>"}});
  EXPECT_TRUE(absl::IsFailedPrecondition(CardToPlug(definition, live, "nat").status()));
  EXPECT_TRUE(absl::IsNotFound(CardToUnplug(live, "nat").status())) << "it is not rum's";
}

DomainParts WithFolder(const std::string& source) {
  DomainParts parts = Parts();
  parts.connection = ConnectionKind::kSystem;
  Mount* const mount = parts.config.add_mounts();
  mount->set_source(source);
  mount->set_target("/src");
  return parts;
}

TEST(FolderToAttach, IsTheDefinitionsWithoutItsPlace) {
  const std::string definition = absl::StrReplaceAll(
      MakeDomainXml(WithFolder("/home/me/src")),
      {{"<target dir=\"src\" />", "<target dir=\"src\" /><address type=\"pci\" bus=\"0x07\" />"}});
  const std::string live = MakeDomainXml(Parts());
  const absl::StatusOr<std::string> folder = FolderToAttach(definition, live, "src");
  ASSERT_TRUE(folder.ok()) << folder.status();
  EXPECT_THAT(*folder, HasSubstr("dir=\"/home/me/src\""));
  EXPECT_THAT(*folder, HasSubstr("type=\"virtiofs\""));
  EXPECT_THAT(*folder, HasSubstr("ua-rum-fs-"));
  EXPECT_THAT(*folder, Not(HasSubstr("address")));
  EXPECT_TRUE(absl::IsNotFound(FolderToAttach(live, live, "src").status()));
  EXPECT_TRUE(absl::IsAlreadyExists(FolderToAttach(definition, definition, "src").status()));
  const std::string other = MakeDomainXml(WithFolder("/home/me/other"));
  EXPECT_TRUE(FolderToAttach(definition, other, "src").ok()) << "it takes the place of rum's own";
}

TEST(FolderToAttach, HasNoTagOfSomebodyElses) {
  const std::string theirs = absl::StrReplaceAll(
      MakeDomainXml(Parts()), {{"</devices>",
                                "<filesystem type='mount'><source dir='/theirs'/><target "
                                "dir='src'/></filesystem></devices>"}});
  const absl::Status refused =
      FolderToAttach(MakeDomainXml(WithFolder("/home/me/src")), theirs, "src").status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("not rum's, has the tag src"));
  EXPECT_TRUE(absl::IsNotFound(FolderToDetach(theirs, "src").status())) << "nor is it taken out";
  EXPECT_THAT(ReadDomainXml(theirs, "qemu")->others_tags, testing::ElementsAre("src"));
  const std::string ours = MakeDomainXml(WithFolder("/home/me/src"));
  EXPECT_THAT(*FolderToDetach(ours, "src"), HasSubstr("/home/me/src"));
}

// As libvirt puts it back: with the prefix.
TEST(MetadataWith, IsRumsElementEditedWithAllElseThatIsInIt) {
  const std::string live = absl::StrReplaceAll(
      MakeDomainXml(Parts()), {{"<rum:config>", "<rum:newer what=\"it\" /><rum:config>"}});
  const auto edit = [](Config* config) { (*config->mutable_drives())["late"].set_size(5); };
  const absl::StatusOr<std::string> metadata = MetadataWith(live, edit);
  ASSERT_TRUE(metadata.ok()) << metadata.status();
  EXPECT_THAT(*metadata, Not(HasSubstr("rum:")));
  EXPECT_THAT(*metadata, HasSubstr("<newer what=\"it\""));
  EXPECT_THAT(*metadata, HasSubstr("id=\"0123456789ab\""));
  EXPECT_THAT(*metadata, HasSubstr("late"));
  EXPECT_EQ(*MetadataWith(live, [](Config*) {}), "") << "nothing changes";
  EXPECT_FALSE(MetadataWith("<domain/>", edit).ok());
}

std::string WithPlaces(std::string xml) {
  return absl::StrReplaceAll(
      xml, {{"<model type=\"virtio\" />",
             "<model type=\"virtio\" /><address type=\"pci\" bus=\"0x01\" slot=\"0x00\" />"}});
}

TEST(Ports, OfANewMachineAreThereToSpare) {
  const std::optional<PlugPorts> ports = PortsOf(WithPlaces(MakeDomainXml(Parts())));
  ASSERT_TRUE(ports.has_value());
  EXPECT_EQ(ports->all, 14u);
  EXPECT_EQ(ports->free, 13u) << "the card has one";
}

TEST(Ports, OfAnOldBusAreItsSlots) {
  const std::string none = MakeDomainXml(Parts("pc"));
  EXPECT_FALSE(PortsOf(none).has_value()) << "nothing is known of it";
  const std::string xml = absl::StrReplaceAll(
      none, {{"</devices>",
              "<controller type='pci' index='0' model='pci-root'/><disk><address "
              "type='pci' bus='0x00' slot='0x05'/></disk></devices>"}});
  EXPECT_EQ(PortsOf(xml)->free, 29u);
}

TEST(Ports, OfADefinitionOfAnEarlierBuildStayAsTheyAre) {
  DomainParts parts = Parts();
  std::string xml = MakeDomainXml(parts);
  for (size_t at; (at = xml.find("<controller type=\"pci\"")) != std::string::npos;) {
    xml.erase(at, xml.find("/>", at) + 2 - at);
  }
  EXPECT_EQ(*EditDomainXml(xml, parts), xml);
}

}  // namespace
}  // namespace rum
