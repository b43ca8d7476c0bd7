#ifndef RUM_AGENT_API_GUEST_GROUPS_H_
#define RUM_AGENT_API_GUEST_GROUPS_H_

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// The files of passwd(5) and group(5), read and edited as such: a static binary cannot load NSS
// modules, and starting usermod costs a hundred milliseconds on an emulated guest.
namespace rum::guest {

struct Account {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
  std::string home;
  std::string shell;
};
std::vector<Account> Accounts();
std::optional<Account> FindAccount(const std::string& name);
// Why that found nothing: FailedPrecondition where there is no such user, else what keeps
// /etc/passwd from being read.
absl::Status NoAccount(const std::string& name);

// Names of the groups that list `user`, sorted; gids likewise, without the primary one.
std::vector<std::string> GroupsOf(const std::string& user);
std::vector<gid_t> GroupIdsOf(const std::string& user);

// Adds `user` to and removes it from just these groups. A group to add that is not there is made,
// with the highest free id below 1000; one to remove that is not there is fine. Holds the lock of
// lckpwdf(3). Unavailable: somebody else holds it, for longer than half a second.
absl::Status SetGroups(const std::string& user, const std::vector<std::string>& add,
                       const std::vector<std::string>& remove);

// The same on the text of /etc/group (`with_ids`) or /etc/gshadow. ResourceExhausted: no id is
// free.
absl::StatusOr<std::string> EditGroups(const std::string& text, bool with_ids,
                                       const std::string& user, const std::vector<std::string>& add,
                                       const std::vector<std::string>& remove);

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_GROUPS_H_
