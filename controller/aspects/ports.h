#ifndef RUM_CONTROLLER_ASPECTS_PORTS_H_
#define RUM_CONTROLLER_ASPECTS_PORTS_H_

#include <string>

#include "state/config.pb.h"

namespace rum {

// "3000→3000", with the address in front where it is not 127.0.0.1.
std::string PortText(const Port& port);

}  // namespace rum

#endif  // RUM_CONTROLLER_ASPECTS_PORTS_H_
