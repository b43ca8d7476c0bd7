#ifndef RUM_AGENT_API_GUEST_RUN_CGROUP_H_
#define RUM_AGENT_API_GUEST_RUN_CGROUP_H_

#include <string>

namespace rum::guest {

// A cgroup for one run, below the agent's own, where the guest has cgroups v2: what a script starts
// cannot leave it, while it can leave its process group. What a script leaves behind for good (a
// daemon) keeps the cgroup; others go with the next run.
class RunCgroup {
 public:
  explicit RunCgroup(const std::string& name);
  ~RunCgroup();
  RunCgroup(const RunCgroup&) = delete;
  RunCgroup& operator=(const RunCgroup&) = delete;

  int procs_fd() const { return procs_fd_; }  // for Spawn; -1: there are no cgroups
  void Kill() const;                          // SIGKILL to all in it (Linux 5.14)

 private:
  std::string folder_;
  int procs_fd_ = -1;
};

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_RUN_CGROUP_H_
