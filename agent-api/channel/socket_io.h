#ifndef RUM_AGENT_API_CHANNEL_SOCKET_IO_H_
#define RUM_AGENT_API_CHANNEL_SOCKET_IO_H_

#include <string>

namespace rum {

// A connected pair of non-blocking stream sockets; false: errno says why.
bool SocketPair(int* one, int* other);

// Sends everything to a blocking stream socket, without SIGPIPE; false: errno says why not.
bool SendAll(int socket, const std::string& data);

}  // namespace rum

#endif  // RUM_AGENT_API_CHANNEL_SOCKET_IO_H_
