#ifndef RUM_CONTROLLER_LISTENERS_PORT_OWNER_H_
#define RUM_CONTROLLER_LISTENERS_PORT_OWNER_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace rum {

// An address as the kernel compares it: IPv4 as ::ffff:a.b.c.d.
using AddressBytes = std::array<uint8_t, 16>;

struct ListeningSocket {
  AddressBytes address;
  uint16_t port = 0;
  uint32_t uid = 0;
  uint64_t inode = 0;
};

bool IsV4(const AddressBytes& address);
std::optional<AddressBytes> ParseAddress(const std::string& literal);

// The listening sockets of /proc/net/tcp or /proc/net/tcp6 (proc(5)); lines that are not understood
// are skipped.
std::vector<ListeningSocket> ParseListening(const std::string& table);

// The one that keeps others from binding `address`:`port`; the nearest match where there are more.
std::optional<ListeningSocket> FindBlocker(const std::vector<ListeningSocket>& sockets,
                                           const AddressBytes& address, uint16_t port);

// Says who listens there, as "postgres (pid 812)", or "a process of uid 113" where the kernel does
// not tell more, or "" where it tells nothing. Reads descriptors of all processes: not for the io
// thread.
std::string PortOwner(const std::string& bind, uint16_t port, const std::string& proc = "/proc");

}  // namespace rum

#endif  // RUM_CONTROLLER_LISTENERS_PORT_OWNER_H_
