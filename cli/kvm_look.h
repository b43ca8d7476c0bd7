#ifndef RUM_CLI_KVM_LOOK_H_
#define RUM_CLI_KVM_LOOK_H_

#include "cli/host_facts.h"

namespace rum {

// Whether KVM works: makes a virtual machine of one page and runs one instruction in it, in a
// process of its own, which is ended when it does not come back.
KvmFacts LookAtKvm();

}  // namespace rum

#endif  // RUM_CLI_KVM_LOOK_H_
