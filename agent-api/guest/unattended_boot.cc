#include "agent-api/guest/unattended_boot.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <thread>
#include <utility>

namespace rum::guest {

UnattendedBoot::UnattendedBoot(Scripts* scripts, std::chrono::milliseconds patience)
    : scripts_(scripts), patience_(patience) {
  std::thread([this] { Wait(); }).detach();
}

void UnattendedBoot::HostCame(int socket) {
  const int session = fcntl(socket, F_DUPFD_CLOEXEC, 3);
  const std::lock_guard<std::mutex> guard(mutex_);
  if (session_ >= 0) close(session_);  // it ended, and nobody has looked yet
  session_ = session;
  came_.notify_all();
}

void UnattendedBoot::Wait() {
  for (;;) {
    int session = -1;
    {
      std::unique_lock<std::mutex> guard(mutex_);
      came_.wait_for(guard, patience_, [this] { return session_ >= 0; });
      session = std::exchange(session_, -1);
    }
    if (session < 0) break;
    pollfd end{session, POLLRDHUP, 0};
    while (poll(&end, 1, -1) < 0) {
    }
    close(session);
  }
  const absl::Status status = scripts_->RunBootScript();
  if (!status.ok()) {
    std::fprintf(stderr, "rum-agent: boot script: %s\n", std::string(status.message()).c_str());
  }
}

}  // namespace rum::guest
