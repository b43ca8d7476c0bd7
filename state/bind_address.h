#ifndef RUM_STATE_BIND_ADDRESS_H_
#define RUM_STATE_BIND_ADDRESS_H_

#include <string>

namespace rum {

// Of a unix socket in the place of an address: "unix:PATH".
inline constexpr char kUnixBind[] = "unix:";
bool IsUnixBind(const std::string& bind);
std::string UnixPath(const std::string& bind);

// Why no client could ever be heard at this address of the host, for a message after
// "ports[0].bind "; empty: one could, where an interface has it. A link-local address has its
// interface after a '%'. A socket's path is absolute, as ResolvePaths() leaves it.
std::string BindProblem(const std::string& address);

// Whether two forwards of one host port exclude each other. "::" takes both families, but IPv6
// alone where 0.0.0.0 stands beside it, so that those two are together what either is not.
bool BindsCollide(const std::string& a, const std::string& b);

// Whether only this host itself reaches the address. False of what is no address.
bool IsLoopback(const std::string& address);

}  // namespace rum

#endif  // RUM_STATE_BIND_ADDRESS_H_
