#ifndef RUM_CONTROLLER_LISTENERS_INHERITED_H_
#define RUM_CONTROLLER_LISTENERS_INHERITED_H_

#include <sys/socket.h>

#include <cstddef>
#include <vector>

#include "controller/base/fd.h"

// Listening sockets that the controller before this one left, so that nobody who connects meanwhile
// is refused: he waits in the socket's own queue. A socket says itself what address it is bound to,
// so that nothing else need be handed on. Thread-safe.
namespace rum {

// Keeps them for whoever would bind their addresses; to be called before anybody does. What is no
// listening socket is closed.
void Inherit(std::vector<Fd> sockets);

// The one that is bound to just this address; none: not ok().
Fd TakeInherited(const sockaddr* address, socklen_t size);

// What nobody took.
std::vector<Fd> TakeInherited();

// The other side: every listening socket of this process's forwards, and of what it inherited
// itself what nobody took yet. They accept nobody any more, and stay open.
std::vector<Fd> GiveUpListening();

}  // namespace rum

#endif  // RUM_CONTROLLER_LISTENERS_INHERITED_H_
