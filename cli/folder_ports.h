#ifndef RUM_CLI_FOLDER_PORTS_H_
#define RUM_CLI_FOLDER_PORTS_H_

#include <string>
#include <vector>

namespace rum {

// A forward that a project's own files ask for: what was reached at a port of the machine on which
// they are run is to be reached there when that machine is a VM.
struct ProposedPort {
  std::string host;   // "8080", "3000-3005"; none below 1024, which ordinary users may not take
  std::string guest;  // its first port
  std::string from;   // "compose.yaml publishes it (web)"
};

// What docker compose's file and the Procfile in `folder` name; nothing from files that are none.
std::vector<ProposedPort> PortsOfFolder(const std::string& folder);

// The same of the files' text. `file`: how it is called.
std::vector<ProposedPort> PortsOfCompose(const std::string& text, const std::string& file);
std::vector<ProposedPort> PortsOfProcfile(const std::string& text, const std::string& file);

// Whether two ports or ranges of the host have one in common.
bool SharePort(const std::string& a, const std::string& b);

}  // namespace rum

#endif  // RUM_CLI_FOLDER_PORTS_H_
