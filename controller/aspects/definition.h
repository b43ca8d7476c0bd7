#ifndef RUM_CONTROLLER_ASPECTS_DEFINITION_H_
#define RUM_CONTROLLER_ASPECTS_DEFINITION_H_

#include <string>
#include <vector>

#include "controller/hypervisor/hypervisor.h"

namespace rum {

// The drives that a machine has, by both of its definitions, sorted.
std::vector<std::string> DriveNames(const DomainState& domain);

}  // namespace rum

#endif  // RUM_CONTROLLER_ASPECTS_DEFINITION_H_
