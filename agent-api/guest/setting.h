#ifndef RUM_AGENT_API_GUEST_SETTING_H_
#define RUM_AGENT_API_GUEST_SETTING_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "agent-api/agent.pb.h"

namespace rum::guest {

// One thing that a guest is set to, as one value: a field of agent::Settings.
struct Setting {
  std::vector<std::string> files;       // that tell of it: a change of one is news
  void (*look)(agent::Settings* seen);  // always tells it, which says that it can be set
  absl::Status (*set)(const agent::Settings& wanted);  // ok where `wanted` does not speak of it
};

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_SETTING_H_
