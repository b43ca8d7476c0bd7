#ifndef RUM_AGENT_API_GUEST_TIMEZONE_H_
#define RUM_AGENT_API_GUEST_TIMEZONE_H_

#include <string>

#include "absl/status/status.h"
#include "agent-api/guest/setting.h"

namespace rum::guest {

// Returns the name of the zone that /etc/localtime is of, "UTC" where there is none, as libraries
// take it, and what /etc/timezone says as well where it says another. Empty: it has no name.
std::string Timezone();

// Exchanges the link /etc/localtime, and the name in /etc/timezone where there is that file
// (Debian). FailedPrecondition: the guest does not have that zone.
absl::Status SetTimezone(const std::string& name);

Setting TimezoneSetting();

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_TIMEZONE_H_
