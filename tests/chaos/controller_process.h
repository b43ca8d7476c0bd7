#ifndef RUM_TESTS_CHAOS_CONTROLLER_PROCESS_H_
#define RUM_TESTS_CHAOS_CONTROLLER_PROCESS_H_

#include <sys/types.h>

#include <string>

#include "tests/agent-api/client/agent_process.h"

namespace rum {

// A controller that can be killed: this program again, which does one `up` of the machine
// FOLDER/dev.rum.toml with the real reconciler, on a machine that only seems to be one, and the
// real agent. Records and outputs are in FOLDER/host. It ends with 0 when all is as the file says.
// `client`: if any, a file that gets what a client sees that follows the boot script from its
// beginning.
pid_t StartController(const std::string& folder, AgentProcess* agent,
                      const std::string& client = "");

bool IsController(int argc, char** argv);
int RunController(char** argv);

// All output of a run's folder; what is missing as '?'.
std::string OutputIn(const std::string& folder);

}  // namespace rum

#endif  // RUM_TESTS_CHAOS_CONTROLLER_PROCESS_H_
