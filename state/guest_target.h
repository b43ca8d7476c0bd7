#ifndef RUM_STATE_GUEST_TARGET_H_
#define RUM_STATE_GUEST_TARGET_H_

#include <string>

namespace rum {

// Why nothing may be mounted at `target` in a guest, for a message after "mounts[0].target ";
// empty: something may. What ruins the guest when it is hidden, hides rum's agent or what it keeps,
// or cannot be a mount point at all is refused; /home, /srv, /opt, /var/lib/docker and the like are
// not.
std::string TargetProblem(const std::string& target);

// A regular expression (ECMA 262) of the targets that it refuses because of what is there, in their
// plain spelling.
std::string KeptTargetsPattern();

}  // namespace rum

#endif  // RUM_STATE_GUEST_TARGET_H_
