#ifndef RUM_CONTROLLER_GUESTS_ZYGOTE_H_
#define RUM_CONTROLLER_GUESTS_ZYGOTE_H_

#include <sys/types.h>

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "controller/base/fd.h"

// Makes the guests' processes. Each is a fork of one process, the zygote, which is a fork of this
// one from before it had threads, libraries at work or anything else that a guest's process must
// not have; so all of them share the program's pages, and each costs what it writes to.
namespace rum {

// What a guest's process does with its end of a socket; it ends with this.
using GuestWork = void (*)(int socket);

// Forks the zygote, by one that forks another where it is killed. At the beginning of main, before
// any thread and before gRPC; `argc` and `argv` of main, or 0 and nullptr, are where the processes
// write what they are, for `ps`.
absl::Status StartZygote(int argc, char** argv, GuestWork work);

// A process that lives as long as its leash.
class Leashed {
 public:
  Leashed() = default;
  explicit Leashed(Fd leash, pid_t pid) : leash_(std::move(leash)), pid_(pid) {}

  pid_t pid() const { return pid_; }
  // Waits until it has ended by itself, but no longer than so many milliseconds, and then ends it.
  // How it ended, in words: "killed by signal 9 (Killed)".
  std::string End(int patience_ms);

 private:
  Fd leash_;
  pid_t pid_ = -1;
};

// Forks a process for the guest of `machine`, which gets `socket`. Unavailable: there is no process
// to be had, or no zygote.
absl::StatusOr<Leashed> SpawnGuestProcess(const std::string& machine, Fd socket);

}  // namespace rum

#endif  // RUM_CONTROLLER_GUESTS_ZYGOTE_H_
