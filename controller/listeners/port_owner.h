#ifndef RUM_CONTROLLER_LISTENERS_PORT_OWNER_H_
#define RUM_CONTROLLER_LISTENERS_PORT_OWNER_H_

#include <cstdint>
#include <set>
#include <string>

namespace rum {

// Who listens on a TCP port of this host, as "postgres (pid 812)"; empty where the kernel does not
// tell (a process of another user, another network namespace).
std::string PortOwner(uint16_t port);

// The inodes of the sockets that listen on `port`, from the text of /proc/net/tcp or tcp6
// (proc(5)).
std::set<std::string> ListeningInodes(const std::string& table, uint16_t port);

}  // namespace rum

#endif  // RUM_CONTROLLER_LISTENERS_PORT_OWNER_H_
