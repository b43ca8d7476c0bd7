#include "tests/controller/hypervisor/contract.h"

#include <libvirt/libvirt.h>

#include <set>
#include <string>
#include <vector>

#include "tests/controller/hypervisor/libvirt_edit.h"
#include "tests/fakes/hypervisor/fake_hypervisor.h"

namespace rum {

namespace {

bool FakeHand(Hypervisor* hypervisor, const MachineIdentity& machine, const std::string& what) {
  auto* fake = static_cast<FakeHypervisor*>(hypervisor);
  if (what == "suspend") {
    fake->Hold(machine, DomainCause::kPausedByUser);
  } else {
    fake->PowerOff(machine, what == "managedsave" ? DomainCause::kSaved
                            : what == "destroy"   ? DomainCause::kDestroyed
                                                  : DomainCause::kCrashed);
  }
  return true;
}

void FakeNetwork(Hypervisor* hypervisor, const std::string& name, bool there) {
  std::set<std::string> networks;
  if (there) networks.insert(name);
  static_cast<FakeHypervisor*>(hypervisor)->SetNetworks(networks);
}

// Through a connection of its own; all in this process have the same machines.
bool TestDriverHand(Hypervisor*, const MachineIdentity& machine, const std::string& what) {
  virConnectPtr connection = virConnectOpen("test:///default");
  virDomainPtr domain = virDomainLookupByName(connection, machine.domain_name().c_str());
  EXPECT_NE(domain, nullptr);
  int done = -1;
  if (what == "suspend") done = virDomainSuspend(domain);
  if (what == "managedsave") done = virDomainManagedSave(domain, 0);
  if (what == "destroy") done = virDomainDestroy(domain);
  virDomainFree(domain);
  virConnectClose(connection);
  EXPECT_TRUE(done == 0 || what == "kill") << what;
  return done == 0;
}

}  // namespace

const std::vector<Contractor>& Contractors() {
  static const auto* const all = new std::vector<Contractor>{
      {"Fake", [](auto on_event) { return std::make_unique<FakeHypervisor>(on_event); },
       "/images/debian-12.qcow2", "/images/debian-13.qcow2", true, nullptr, FakeHand, FakeNetwork},
      {"LibvirtTestDriver",
       [](auto on_event) {
         auto made = ConnectLibvirt("test:///default", "", on_event);
         EXPECT_TRUE(made.ok()) << made.status();
         return made.ok() ? *std::move(made) : nullptr;
       },
       "/images/debian-12.qcow2", "/images/debian-13.qcow2", true,
       [](const std::string& domain, const auto& edit) {
         return EditInLibvirt("test:///default", domain, edit);
       },
       TestDriverHand,
       [](Hypervisor*, const std::string& name, bool there) {
         there ? DefineTheirNetwork("test:///default", name)
               : UndefineTheirNetwork("test:///default", name);
       }},
  };
  return *all;
}

}  // namespace rum
