#ifndef RUM_AGENT_API_GUEST_FILE_RIGHTS_H_
#define RUM_AGENT_API_GUEST_FILE_RIGHTS_H_

#include <sys/types.h>

#include <vector>

namespace rum::guest {

// While it lives, this thread alone opens files with a user's rights: a link in that user's home
// must not lead root elsewhere.
class AsUser {
 public:
  AsUser(uid_t uid, gid_t gid, const std::vector<gid_t>& groups);
  ~AsUser();
  AsUser(const AsUser&) = delete;
  AsUser& operator=(const AsUser&) = delete;

 private:
  std::vector<gid_t> groups_;
  int group_;
  int user_;
};

// Takes the rights of AsUser back for a moment: the process's own.
class AsItself {
 public:
  AsItself();
  ~AsItself();
  AsItself(const AsItself&) = delete;
  AsItself& operator=(const AsItself&) = delete;

 private:
  int group_;
  int user_;
};

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_FILE_RIGHTS_H_
