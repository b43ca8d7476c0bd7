#ifndef RUM_TESTS_BENCH_REAL_AGENT_H_
#define RUM_TESTS_BENCH_REAL_AGENT_H_

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "agent-api/client/guest_agent.h"
#include "controller/base/fd.h"
#include "tests/controller/listeners/sockets.h"

namespace rum {

// The agent as it is in a guest, on this host, behind the other ends of both channels.
class RealAgent {
 public:
  explicit RealAgent(const std::string& state) {
    Fd guest;
    Fd forward_guest;
    if (!SocketPair(&guest, &channel_) || !SocketPair(&forward_guest, &forward_)) std::abort();
    const int ports[] = {dup(guest.get()), dup(forward_guest.get())};  // without close-on-exec
    std::vector<std::string> words = {
        RUM_AGENT, "--port-fd", std::to_string(ports[0]), "--forward-fd", std::to_string(ports[1]),
        "--state", state};
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    if (posix_spawn(&pid_, RUM_AGENT, nullptr, nullptr, argv.data(), environ) != 0) std::abort();
    for (const int port : ports) close(port);
  }
  ~RealAgent() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  RealAgent(const RealAgent&) = delete;
  RealAgent& operator=(const RealAgent&) = delete;

  pid_t pid() const { return pid_; }
  ChannelOpener channel() const {
    return [this]() -> absl::StatusOr<int> { return dup(channel_.get()); };
  }
  ChannelOpener forward() const {
    return [this]() -> absl::StatusOr<int> { return dup(forward_.get()); };
  }

 private:
  Fd channel_, forward_;
  pid_t pid_ = -1;
};

}  // namespace rum

#endif  // RUM_TESTS_BENCH_REAL_AGENT_H_
