#ifndef RUM_CONTROLLER_FLEET_AUTO_PORTS_H_
#define RUM_CONTROLLER_FLEET_AUTO_PORTS_H_

#include <cstdint>
#include <functional>
#include <string>

#include "state/config.pb.h"
#include "state/record.pb.h"

namespace rum {

// Fills in the host ports of forwards with `auto = true`: what the record says was chosen for the
// same address and guest port, else a port that is free. A choice depends on the machine, so that
// it is most often the same again even without a record, and lies below the ports that the kernel
// gives to outgoing connections. `is_free` says whether a port can be bound now. 0 stays where none
// can.
void FillAutoPorts(const std::string& machine_id, const MachineRecord& record,
                   const std::function<bool(const std::string& bind, uint16_t port)>& is_free,
                   Config* config);

// Makes the record remember the choices in `config`, and no others.
void RememberAutoPorts(const Config& config, MachineRecord* record);

// Whether this process could listen there now.
bool CanBind(const std::string& bind, uint16_t port);

}  // namespace rum

#endif  // RUM_CONTROLLER_FLEET_AUTO_PORTS_H_
