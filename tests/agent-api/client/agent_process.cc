#include "tests/agent-api/client/agent_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <vector>

#include "agent-api/channel/frame.h"

namespace rum {

AgentProcess::AgentProcess(const std::string& state, const std::string& program,
                           const std::string& system)
    : state_(state), program_(program.empty() ? RUM_AGENT : program), system_(system) {
  signal(SIGPIPE, SIG_IGN);  // as the controller does
  int fds[2];
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
  port_ = fds[0];
  channel_ = fds[1];
  Start();
}

AgentProcess::~AgentProcess() {
  Kill();
  close(port_);
  close(channel_);
}

void AgentProcess::Start() {
  const int inherited = dup(port_);  // without close-on-exec
  std::vector<std::string> words = {program_, "--port-fd", std::to_string(inherited), "--state",
                                    state_};
  if (!system_.empty()) words.insert(words.end(), {"--system", system_});
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  EXPECT_EQ(posix_spawn(&pid_, program_.c_str(), nullptr, nullptr, argv.data(), environ), 0);
  close(inherited);
}

void AgentProcess::Kill() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void AgentProcess::BreakSession() {
  const std::string reset = EncodeControl(FrameKind::kReset, NewNonce());
  EXPECT_EQ(write(port_, reset.data(), reset.size()), static_cast<ssize_t>(reset.size()));
}

long AgentProcess::PeakKb() const {
  std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
  std::string word;
  long kb = -1;
  while (status >> word) {
    if (word == "VmHWM:") status >> kb;
  }
  return kb;
}

ChannelOpener AgentProcess::opener() {
  return [this]() -> absl::StatusOr<int> { return fcntl(channel_, F_DUPFD_CLOEXEC, 0); };
}

}  // namespace rum
