#ifndef RUM_AGENT_API_GUEST_RUN_WATCH_H_
#define RUM_AGENT_API_GUEST_RUN_WATCH_H_

#include <functional>
#include <string>

namespace rum::guest {

// Blocks while the run in `folder` has a keeper, and calls `changed` when its output may have
// grown.
void WatchRun(const std::string& folder, const std::function<void()>& changed);

// Whether the run in `folder` has a keeper now.
bool HasKeeper(const std::string& folder);

// An open, locked `lock` of `folder`, to be handed to a keeper; -1 with errno.
int LockRun(const std::string& folder);

// The pid of the keeper, which lives; 0: there is none, or it is just beginning.
int KeeperOf(const std::string& folder);

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_RUN_WATCH_H_
