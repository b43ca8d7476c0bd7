#ifndef RUM_TESTS_BENCH_WARM_SSH_H_
#define RUM_TESTS_BENCH_WARM_SSH_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace rum::bench {

// ssh to the guest over a connection that is open already (ControlMaster): what remains is the
// start of the local ssh and a session in the guest.
class WarmSsh {
 public:
  // `folder`: for the key and the control socket; its path is short.
  explicit WarmSsh(std::string folder) : folder_(std::move(folder)) {}
  ~WarmSsh();
  WarmSsh(const WarmSsh&) = delete;
  WarmSsh& operator=(const WarmSsh&) = delete;

  absl::StatusOr<std::string> MakeKey();  // the public half, for authorized_keys
  absl::Status Open(const std::string& user, const std::string& address, absl::Duration patience);
  absl::Status Exec(const std::vector<std::string>& command) const;
  // The same for ansible, with pipelining and over that connection: a line of shell as root.
  absl::Status Ansible(const std::string& shell_line) const;
  // The same as people keep it: a playbook that puts a script (one line, without quotes) in place
  // and runs it when it has changed, with the facts that a playbook gathers unless told not to.
  absl::Status Playbook(const std::string& script) const;
  // Begins with the ssh program and what it needs to get in; `more` comes after.
  std::vector<std::string> Argv(const std::vector<std::string>& more) const;

 private:
  absl::Status RunAnsible(std::vector<std::string> argv) const;

  const std::string folder_;
  std::string target_;
};

}  // namespace rum::bench

#endif  // RUM_TESTS_BENCH_WARM_SSH_H_
