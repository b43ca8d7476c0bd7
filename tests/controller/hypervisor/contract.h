#ifndef RUM_TESTS_CONTROLLER_HYPERVISOR_CONTRACT_H_
#define RUM_TESTS_CONTROLLER_HYPERVISOR_CONTRACT_H_

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "controller/hypervisor/hypervisor.h"

namespace rum {

// One kind of hypervisor for the suite in contract.cc.
struct Contractor {
  std::string name;
  // A hypervisor without machines of the suite; called once for each test.
  std::function<std::unique_ptr<Hypervisor>(std::function<void(const std::string&)> on_event)> make;
  std::string image;  // an image.base that can be used, and another one
  std::string other_image;
  bool acpi = true;  // guests here shut down when asked to
  // Somebody else's edit of a domain's persistent definition, as EditInLibvirt(); null: definitions
  // here are not XML.
  std::function<std::string(const std::string& domain,
                            const std::function<void(std::string* xml)>& edit)>
      edit;
  // Somebody else's hand on a domain that is on: "suspend", "managedsave", "destroy", "kill".
  // False: there is none here for that.
  std::function<bool(Hypervisor* hypervisor, const MachineIdentity& machine,
                     const std::string& what)>
      hand;
  // Somebody else makes a network of that name, or removes it; null: no machine here joins any.
  std::function<void(Hypervisor* hypervisor, const std::string& name, bool there)> network;
};

class HypervisorContract : public testing::TestWithParam<Contractor> {};

}  // namespace rum

#endif  // RUM_TESTS_CONTROLLER_HYPERVISOR_CONTRACT_H_
