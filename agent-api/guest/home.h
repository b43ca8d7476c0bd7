#ifndef RUM_AGENT_API_GUEST_HOME_H_
#define RUM_AGENT_API_GUEST_HOME_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "agent-api/guest/groups.h"

// Homes that are not there, or are the bare root of a filesystem: with an empty drive mounted at
// /home, or at the home itself, nobody could log in.
namespace rum::guest {

bool LacksHome(const Account& account);

// Makes the home as useradd -m would: what is in its skeleton, the account's own, with the mode
// that /etc/login.defs says. What is in a home already is left alone.
absl::Status MakeHome(const Account& account);

// The people's accounts, by /etc/login.defs, whose homes are in `folder`, there or not.
std::vector<Account> AccountsIn(const std::string& folder);

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_HOME_H_
