#ifndef RUM_TESTS_AGENT_API_CLIENT_AGENT_PROCESS_H_
#define RUM_TESTS_AGENT_API_CLIENT_AGENT_PROCESS_H_

#include <sys/types.h>

#include <string>

#include "agent-api/client/guest_agent.h"

namespace rum {

// The real rum-agent behind one end of a channel that outlives it, as QEMU's does.
class AgentProcess {
 public:
  // `state`: --state. `program`: another agent than the present one. `system`: --system; empty: the
  // host's CPUs and memory are not the agent's.
  explicit AgentProcess(const std::string& state, const std::string& program = "",
                        const std::string& system = "");
  ~AgentProcess();
  AgentProcess(const AgentProcess&) = delete;
  AgentProcess& operator=(const AgentProcess&) = delete;

  void Start();
  void Kill();          // -9
  void BreakSession();  // the host loses it and begins another; the agent goes on
  pid_t pid() const { return pid_; }
  long PeakKb() const;  // the most memory that it had so far
  // The host's end, for one client after another.
  ChannelOpener opener();

 private:
  const std::string state_;
  const std::string program_;
  const std::string system_;
  int port_ = -1;
  int channel_ = -1;
  pid_t pid_ = -1;
};

}  // namespace rum

#endif  // RUM_TESTS_AGENT_API_CLIENT_AGENT_PROCESS_H_
