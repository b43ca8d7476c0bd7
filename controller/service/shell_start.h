#ifndef RUM_CONTROLLER_SERVICE_SHELL_START_H_
#define RUM_CONTROLLER_SERVICE_SHELL_START_H_

#include <string>
#include <vector>

#include "agent-api/agent.pb.h"
#include "state/config.pb.h"

namespace rum {

// Finds where the guest has a folder of the host, by the innermost mount that it is in; links are
// followed. Empty: it has none.
std::string GuestFolderOf(const std::string& host_folder, const std::vector<Mount>& mounts);

// Makes of `start` the login shell of its user, or in it the command that it has. It begins in the
// first of `folders` that is there, else at home: a share that is not mounted now keeps nobody out.
void MakeShell(const std::vector<std::string>& folders, agent::ExecStart* start);

}  // namespace rum

#endif  // RUM_CONTROLLER_SERVICE_SHELL_START_H_
