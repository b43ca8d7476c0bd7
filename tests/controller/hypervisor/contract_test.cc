#include "tests/controller/hypervisor/contract.h"

#include <vector>

#include "tests/controller/hypervisor/libvirt_edit.h"
#include "tests/fakes/hypervisor/fake_hypervisor.h"

namespace rum {

const std::vector<Contractor>& Contractors() {
  static const auto* const all = new std::vector<Contractor>{
      {"Fake", [](auto on_event) { return std::make_unique<FakeHypervisor>(on_event); },
       "/images/debian-12.qcow2", "/images/debian-13.qcow2"},
      {"LibvirtTestDriver",
       [](auto on_event) {
         auto made = ConnectLibvirt("test:///default", "", on_event);
         EXPECT_TRUE(made.ok()) << made.status();
         return made.ok() ? *std::move(made) : nullptr;
       },
       "/images/debian-12.qcow2", "/images/debian-13.qcow2", true,
       [](const std::string& domain, const auto& edit) {
         return EditInLibvirt("test:///default", domain, edit);
       }},
  };
  return *all;
}

}  // namespace rum
