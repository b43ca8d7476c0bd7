// Whose a domain is, in libvirt's driver in memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libvirt/libvirt.h>

#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_replace.h"
#include "controller/hypervisor/domain_xml.h"
#include "controller/hypervisor/hypervisor.h"
#include "controller/hypervisor/libvirt_handles.h"
#include "tests/eventually.h"

namespace rum {
namespace {

using testing::HasSubstr;

constexpr absl::Duration kNoGrace = absl::ZeroDuration();

class OwnershipTest : public testing::Test {
 protected:
  void SetUp() override {
    auto made = ConnectLibvirt("test:///default", "", [this](const std::string& domain) {
      std::lock_guard<std::mutex> lock(mutex_);
      heard_.insert(domain);
    });
    ASSERT_TRUE(made.ok()) << made.status();
    hypervisor_ = *std::move(made);
    config_.mutable_image()->set_base("/images/debian.qcow2");
    config_.mutable_resources()->set_cpus(1);
    config_.mutable_resources()->set_memory_mb(256);
    // The driver has one libvirt in memory for all connections of a process.
    connection_ = virConnectOpen("test:///default");
    ASSERT_NE(connection_, nullptr);
    ASSERT_TRUE(Define(machine_).ok());
  }
  void TearDown() override {
    Edit({{"owner=\"4711 alice\"", ""}, {"id=\"ffffffffffff\"", Id()}});
    EXPECT_TRUE(hypervisor_->Remove(machine_).ok());
    virConnectClose(connection_);
  }

  absl::Status Define(const MachineIdentity& machine) {
    return hypervisor_->Define(machine, config_, Fresh::kNothing, Onlooker());
  }
  std::string Id() const { return "id=\"" + machine_.id + "\""; }
  std::string Ours() const { return "owner=\"" + ThisUser() + "\""; }
  std::string Xml() {
    DomainHandle domain(virDomainLookupByUUIDString(connection_, DomainUuid(machine_).c_str()));
    return domain ? TakeText(virDomainGetXMLDesc(domain.get(), VIR_DOMAIN_XML_INACTIVE)) : "";
  }
  // libvirt writes attributes in single quotes.
  void Edit(const std::vector<std::pair<std::string, std::string>>& edits) {
    std::string xml = absl::StrReplaceAll(Xml(), {{"'", "\""}});
    for (const auto& [from, to] : edits) xml = absl::StrReplaceAll(xml, {{from, to}});
    if (!xml.empty()) DomainHandle(virDomainDefineXML(connection_, xml.c_str()));
  }
  void ExpectLeftAlone(const std::string& why) {
    const std::string before = Xml();
    for (const absl::Status& status :
         {hypervisor_->Inspect(machine_).status(), Define(machine_), hypervisor_->Start(machine_),
          hypervisor_->Stop(machine_, kNoGrace), hypervisor_->Remove(machine_).status()}) {
      EXPECT_TRUE(absl::IsPermissionDenied(status)) << status;
      EXPECT_THAT(std::string(status.message()), HasSubstr(why));
    }
    EXPECT_EQ(Xml(), before);
  }
  bool Heard(const std::string& domain) {
    std::lock_guard<std::mutex> lock(mutex_);
    return heard_.count(domain) > 0;
  }

  const MachineIdentity machine_ = {"/home/somebody/dev/rum.toml", "dev", "0123456789ab"};
  Config config_;
  std::mutex mutex_;
  std::set<std::string> heard_;
  std::unique_ptr<Hypervisor> hypervisor_;
  virConnectPtr connection_ = nullptr;
};

TEST_F(OwnershipTest, AMachineSaysWhoseItIs) {
  EXPECT_THAT(absl::StrReplaceAll(Xml(), {{"'", "\""}}), HasSubstr(Ours()));
  EXPECT_EQ(hypervisor_->Inspect(machine_)->uri, "test:///default");
}

TEST_F(OwnershipTest, AnotherUsersIsNamedAndLeftAloneUnlessForced) {
  Edit({{Ours(), "owner=\"4711 alice\""}});
  ExpectLeftAlone("belongs to user alice (uid 4711)");
  MachineIdentity forced = machine_;
  forced.of_anybody = true;
  EXPECT_TRUE(hypervisor_->Inspect(forced)->defined);
  EXPECT_TRUE(Define(forced).ok());
  EXPECT_TRUE(hypervisor_->Inspect(machine_).ok()) << "the definition was taken over";
}

TEST_F(OwnershipTest, OneThatDoesNotSayWhoseIsOurs) {
  Edit({{Ours(), ""}});
  EXPECT_TRUE(hypervisor_->Inspect(machine_)->defined);
  EXPECT_TRUE(hypervisor_->Start(machine_).ok());
}

TEST_F(OwnershipTest, AnotherMachineInItsPlaceIsNamedAndLeftAlone) {
  Edit({{Id(), "id=\"ffffffffffff\""}});
  ExpectLeftAlone("is another one (ffffffffffff)");
  MachineIdentity forced = machine_;
  forced.of_anybody = true;
  EXPECT_TRUE(absl::IsPermissionDenied(hypervisor_->Remove(forced).status()))
      << "force is for what another user's rum made, not for another machine";
}

TEST_F(OwnershipTest, ARenamedDomainIsTheSameMachineAndKeepsItsName) {
  {
    DomainHandle domain(virDomainLookupByUUIDString(connection_, DomainUuid(machine_).c_str()));
    if (virDomainRename(domain.get(), "mine", 0) != 0) {
      // A driver without it: the same by hand.
      const std::string xml =
          absl::StrReplaceAll(Xml(), {{"<name>" + machine_.domain_name() + "<", "<name>mine<"}});
      ASSERT_EQ(virDomainUndefine(domain.get()), 0);
      DomainHandle renamed(virDomainDefineXML(connection_, xml.c_str()));
      ASSERT_TRUE(renamed);
    }
  }
  EXPECT_TRUE(hypervisor_->Inspect(machine_)->defined);
  config_.mutable_resources()->set_memory_mb(512);
  ASSERT_TRUE(Define(machine_).ok());
  EXPECT_THAT(Xml(), HasSubstr("<name>mine<"));
  EXPECT_EQ(hypervisor_->Inspect(machine_)->persistent.resources().memory_mb(), 512u);
  ASSERT_TRUE(hypervisor_->Start(machine_).ok());
  EXPECT_TRUE(Eventually([&] { return Heard("mine") && Heard(DomainUuid(machine_)); }));
  EXPECT_TRUE(hypervisor_->Inspect(machine_)->running);
  ASSERT_TRUE(hypervisor_->Stop(machine_, kNoGrace).ok());
  const auto removed = hypervisor_->Remove(machine_);
  ASSERT_TRUE(removed.ok()) << removed.status();
  EXPECT_THAT(removed->removed, testing::ElementsAre("domain mine"));
}

}  // namespace
}  // namespace rum
