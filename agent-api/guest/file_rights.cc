#include "agent-api/guest/file_rights.h"

#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

namespace rum::guest {
namespace {

// The kernel's own call is for one thread; libc's would change them all.
void SetGroupsOfThread(const std::vector<gid_t>& groups) {
  syscall(SYS_setgroups, groups.size(), groups.data());
}

std::vector<gid_t> GroupsOfThread() {
  std::vector<gid_t> groups(static_cast<size_t>(std::max(getgroups(0, nullptr), 0)));
  groups.resize(
      static_cast<size_t>(std::max(getgroups(static_cast<int>(groups.size()), groups.data()), 0)));
  return groups;
}

}  // namespace

AsUser::AsUser(uid_t uid, gid_t gid, const std::vector<gid_t>& groups) : groups_(GroupsOfThread()) {
  SetGroupsOfThread(groups);
  group_ = setfsgid(gid);
  user_ = setfsuid(uid);
}

AsUser::~AsUser() {
  setfsuid(static_cast<uid_t>(user_));
  setfsgid(static_cast<gid_t>(group_));
  SetGroupsOfThread(groups_);
}

AsItself::AsItself() : group_(setfsgid(getegid())), user_(setfsuid(geteuid())) {}

AsItself::~AsItself() {
  setfsuid(static_cast<uid_t>(user_));
  setfsgid(static_cast<gid_t>(group_));
}

}  // namespace rum::guest
