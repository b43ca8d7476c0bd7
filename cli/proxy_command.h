#ifndef RUM_CLI_PROXY_COMMAND_H_
#define RUM_CLI_PROXY_COMMAND_H_

#include <cstdint>

#include "cli/apply_stream.h"
#include "cli/commands.h"

namespace rum {

// Connects standard input and output to a port of the guest's own 127.0.0.1, until the guest's side
// ends it.
void Proxy(const MachineClient& client, uint16_t port, Globals* globals);

}  // namespace rum

#endif  // RUM_CLI_PROXY_COMMAND_H_
