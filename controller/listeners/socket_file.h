#ifndef RUM_CONTROLLER_LISTENERS_SOCKET_FILE_H_
#define RUM_CONTROLLER_LISTENERS_SOCKET_FILE_H_

#include <string>
#include <vector>

#include "controller/base/fd.h"

// The files of forwards that are unix sockets. Which of them rum made is noted in
// $RUM_STATE_DIR/sockets when they are made; nothing else that has such a path is ever removed.
namespace rum {

// A socket that listens at the absolute `path`, mode 0600: an inherited one whose file is there
// still, else a new one, also in the place of one of ours that nobody listens at any more. Returns
// 0 or an errno: EADDRINUSE, somebody listens there; ENOTSOCK, what is there rum did not make.
int ListenAtPath(const std::string& path, Fd* made);

// Whether what is at the path now is a socket that rum made.
bool IsOwnSocketFile(const std::string& path);
// Removes it, if it is.
void RemoveOwnSocketFile(const std::string& path);
// Removes the files of those among the sockets that were made by ListenAtPath().
void RemoveFilesOf(const std::vector<Fd>& sockets);

}  // namespace rum

#endif  // RUM_CONTROLLER_LISTENERS_SOCKET_FILE_H_
