#ifndef RUM_AGENT_API_GUEST_MOUNT_USERS_H_
#define RUM_AGENT_API_GUEST_MOUNT_USERS_H_

#include <string>

namespace rum::guest {

// Names who keeps what is mounted at `target` from being unmounted, as far as that can be seen:
// "pid 812 (vim), pid 900 (bash) and 3 more"; empty: nobody. Reads links of /proc and no file of
// the mount itself, which may hang.
std::string UsersOf(const std::string& target);
// The same of what is mounted there, if anything is.
std::string KeptMountedBy(const std::string& target);

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_MOUNT_USERS_H_
