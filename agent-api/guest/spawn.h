#ifndef RUM_AGENT_API_GUEST_SPAWN_H_
#define RUM_AGENT_API_GUEST_SPAWN_H_

#include <sys/types.h>

#include <mutex>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace rum::guest {

struct SpawnRequest {
  std::vector<std::string> argv;         // argv[0] is looked up in PATH of `environment`
  std::vector<std::string> environment;  // NAME=value
  std::string cwd = "/";
  int stdin_fd = -1;  // -1: /dev/null. The caller keeps all three
  int stdout_fd = -1;
  int stderr_fd = -1;
  int stat_fd = -1;    // if any, gets the child's /proc/PID/stat before the program begins
  int cgroup_fd = -1;  // if any, the cgroup.procs of the cgroup that the child enters
  bool controlling_terminal = false;  // stdin_fd is a terminal that becomes the session's
  std::string user;                   // empty: as we are
};

struct Child {
  pid_t pid = -1;
  int pidfd = -1;  // readable when it has ended; Reap() closes it
};

// Starts a program as the leader of a session and process group of its own, with all signals at
// their defaults. NotFound, PermissionDenied or another error of execve(2) when it cannot be
// started.
absl::StatusOr<Child> Spawn(const SpawnRequest& request);

// Lets this process have as many descriptors as it may; what it spawns from now on has the limit of
// before, for there are programs that cannot count further (select(2)). Once, before any Spawn.
void RaiseDescriptorLimit();
void RestoreDescriptorLimit();  // before this process becomes another program

// Held while a file is written that is to be executed: a child between fork and exec would have it
// open for writing as well, and execve(2) of it would fail with ETXTBSY.
std::mutex& SpawnMutex();

// Reads after a process has ended, until its output is empty: more than any pipe holds, yet a
// process that it left behind and that goes on writing cannot hold its end up for ever.
inline constexpr int kMostReadsAfterEnd = 256;

// How a process ended: by its exit status, or 0 and the signal.
struct Exit {
  int exit_status = 0;
  int signal = 0;
  bool well() const { return exit_status == 0 && signal == 0; }
};

// Waits until the child has ended, reaps it and closes its pidfd.
Exit Reap(const Child& child);

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_SPAWN_H_
