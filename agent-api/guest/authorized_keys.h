#ifndef RUM_AGENT_API_GUEST_AUTHORIZED_KEYS_H_
#define RUM_AGENT_API_GUEST_AUTHORIZED_KEYS_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "agent-api/guest/groups.h"

namespace rum::guest {

// "TYPE DATA" of a line of authorized_keys, without options and comment (sshd(8), AUTHORIZED_KEYS
// FILE FORMAT); empty for a line without a key.
std::string KeyOfLine(const std::string& line);

// The keys in `text`, in its order.
std::vector<std::string> KeysIn(const std::string& text);

// `text` with the lines of `add` whose keys it lacks, or has with other options, which go; and
// without the lines of the keys in `remove`; what is in both stays.
std::string EditAuthorizedKeys(const std::string& text, const std::vector<std::string>& add,
                               const std::vector<std::string>& remove);

// The keys of the account's ~/.ssh/authorized_keys; none when it cannot be read or is so large that
// SetAuthorizedKeys() does not edit it.
std::vector<std::string> AuthorizedKeysOf(const Account& account);

// The whole file; empty when it cannot be read.
std::string AuthorizedKeysText(const Account& account);

// Puts what `edit` makes of the file in its place. `make`: also where there is none yet, nor a
// home.
absl::Status EditAuthorizedKeysOf(const Account& account, bool make,
                                  const std::function<std::string(const std::string&)>& edit);

// Edits that file, which is made when it is missing. InvalidArgument: a line without a key;
// FailedPrecondition: no such user.
absl::Status SetAuthorizedKeys(const std::string& user, const std::vector<std::string>& add,
                               const std::vector<std::string>& remove);

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_AUTHORIZED_KEYS_H_
