#include "controller/hypervisor/ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace rum {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr char kDomain[] = "rum-dev-0123456789ab";
const std::string kBegin = std::string("/pool/") + kDomain;  // of the paths of volumes

class LedgerTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) / "ledger";
    std::filesystem::remove_all(folder_);
    setenv("RUM_STATE_DIR", folder_.c_str(), 1);
  }
  static Ledger Open(const std::string& uri = "qemu:///session") {
    return Ledger("0123456789ab", uri);
  }
  static absl::Status Learn(Ledger* ledger, const DomainFacts& facts) {
    return ledger->Learn(kDomain, facts, [](const std::string&) { return false; });
  }
  std::filesystem::path folder_;
};

// A definition as the build before ledgers wrote it, with a drive of a hash's name.
constexpr char kOldDefinition[] = R"(<domain type='kvm'><name>rum-dev-0123456789ab</name>
  <metadata><rum:machine xmlns:rum='https://rum.dev/xmlns/domain/1' id='0123456789ab' disk='00112233aabbccdd'>
    <rum:config>{"drives":{"data":{"size":"1"},"mine":{"size":"1"}},"network":{"nat":true,
      "interfaces":[{"network":"lan"},{"network":"theirs"}]}}</rum:config></rum:machine></metadata>
  <devices>
    <disk type='file' device='disk'><source file='ROOT'/><target dev='vda'/><serial>rum.root</serial></disk>
    <disk type='file' device='disk'><source file='/pool/rum-dev-0123456789ab.drive.rum-data.qcow2'/>
      <target dev='vdb'/><serial>rum-data</serial></disk>
    <disk type='file' device='disk'><source file='/pool/rum-dev-0123456789ab.drive.rum-mine-old.qcow2'/>
      <target dev='vdc'/><serial>rum-mine</serial></disk>
    <disk type='file' device='cdrom'><source file='/pool/rum-dev-0123456789ab.seed.ab12.iso'/><target dev='sda'/></disk>
    <interface type='network'><source network='default'/><alias name='ua-nat'/></interface>
    <interface type='network'><source network='rum-0123456789ab.lan'/><alias name='ua-net0'/></interface>
    <interface type='network'><source network='theirs'/><alias name='ua-net1'/></interface>
  </devices></domain>)";

DomainFacts OldFacts(const std::string& root) {
  std::string xml = kOldDefinition;
  xml.replace(xml.find("ROOT"), 4, root);
  return *ReadDomainXml(xml, "kvm");
}

TEST_F(LedgerTest, OfAnOldDefinitionOwnIsWhatItPointsToUnderTheNamesThatRumGave) {
  EXPECT_THAT(OwnVolumes(kDomain, OldFacts(kBegin + ".root.00112233aabbccdd.qcow2")),
              UnorderedElementsAre(kBegin + ".root.00112233aabbccdd.qcow2",
                                   kBegin + ".drive.rum-data.qcow2", kBegin + ".seed.ab12.iso"));
  EXPECT_THAT(OwnNetworks(OldFacts("/x")), ElementsAre("rum-0123456789ab.lan"));
}

TEST_F(LedgerTest, TheDiskUnderASnapshotOfAnOldMachineIsOwnAndTheSnapshotIsNot) {
  const auto own = OwnVolumes(kDomain, OldFacts(kBegin + ".root.00112233aabbccdd.s1"));
  EXPECT_EQ(own.count(kBegin + ".root.00112233aabbccdd.qcow2"), 1u);
  EXPECT_EQ(own.count(kBegin + ".root.00112233aabbccdd.s1"), 0u);
}

TEST_F(LedgerTest, ANewDefinitionSaysItself) {
  DomainParts parts;
  parts.identity = {"/p/dev/rum.toml", "dev", "0123456789ab"};
  parts.own_volumes = {"/pool/a & b", "/pool/c"};
  parts.own_networks = {"rum-0123456789ab.lan"};
  parts.root_path = kBegin + ".root.00112233aabbccdd.qcow2";
  parts.disk_nonce = "00112233aabbccdd";
  const auto facts = ReadDomainXml(MakeDomainXml(parts), "kvm");
  ASSERT_TRUE(facts.ok());
  EXPECT_EQ(OwnVolumes(kDomain, *facts), parts.own_volumes);
  EXPECT_EQ(OwnNetworks(*facts), parts.own_networks);
}

TEST_F(LedgerTest, WhatIsWrittenIsThereForTheNextOneOfThisLibvirtAlone) {
  Ledger ledger = Open();
  ASSERT_TRUE(ledger.AddVolume("/a").ok());
  ASSERT_TRUE(ledger.AddVolume("/a").ok());
  ASSERT_TRUE(ledger.AddNetwork("n").ok());
  ASSERT_TRUE(ledger.SawDisks("/a", "nonce", {{"data", "/d"}}).ok());
  EXPECT_THAT(Open().volumes(), ElementsAre("/a"));
  EXPECT_THAT(Open().networks(), ElementsAre("n"));
  EXPECT_EQ(Open().root(), "/a");
  EXPECT_EQ(Open().nonce(), "nonce");
  EXPECT_EQ(Open().drives().at("data"), "/d");
  EXPECT_THAT(Open("qemu:///system").volumes(), IsEmpty());
  ASSERT_TRUE(Open().ForgetVolume("/a").ok());
  EXPECT_EQ(Open().root(), "");
  ASSERT_TRUE(Open().ForgetNetwork("n").ok());
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "made")) << "nothing is left to know";
}

TEST_F(LedgerTest, OneThatWasLostOrDamagedIsLearnedFromTheDefinition) {
  ASSERT_TRUE(Open().AddVolume("/a").ok());
  std::ofstream(folder_ / "made" / "0123456789ab.json") << "{\"there\":";
  Ledger ledger = Open();
  EXPECT_THAT(ledger.volumes(), IsEmpty());
  DomainFacts facts;
  facts.own_volumes = std::set<std::string>{"/a", "/gone"};
  ASSERT_TRUE(
      ledger.Learn(kDomain, facts, [](const std::string& path) { return path == "/gone"; }).ok());
  EXPECT_THAT(Open().volumes(), ElementsAre("/a"));
}

TEST_F(LedgerTest, OneThatCannotBeWrittenIsAnError) {
  std::ofstream(folder_.string()) << "a file";
  EXPECT_FALSE(Open().AddVolume("/a").ok());
}

}  // namespace
}  // namespace rum
