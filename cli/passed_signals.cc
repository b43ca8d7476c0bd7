#include "cli/passed_signals.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace rum {

int HoldSignals(std::initializer_list<int> signals) {
  sigset_t held;
  sigemptyset(&held);
  for (const int signal : signals) sigaddset(&held, signal);
  pthread_sigmask(SIG_BLOCK, &held, nullptr);
  return signalfd(-1, &held, SFD_CLOEXEC | SFD_NONBLOCK);
}

EarlySignals::EarlySignals(int signals) : stop_(eventfd(0, EFD_CLOEXEC)) {
  thread_ = std::thread([this, signals] {
    pollfd fds[2] = {{signals, POLLIN, 0}, {stop_, POLLIN, 0}};
    signalfd_siginfo info{};
    while (fds[1].revents == 0) {
      if (poll(fds, 2, -1) < 0 || fds[0].revents == 0) continue;
      if (read(signals, &info, sizeof info) != sizeof info || info.ssi_signo == SIGWINCH) continue;
      _exit(128 + static_cast<int>(info.ssi_signo));
    }
  });
}

EarlySignals::~EarlySignals() {
  eventfd_write(stop_, 1);
  thread_.join();
  close(stop_);
}

}  // namespace rum
