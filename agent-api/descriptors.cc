#include "agent-api/descriptors.h"

#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace rum {

bool IsOutOfDescriptors(int error) { return error == EMFILE || error == ENFILE; }

size_t DescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  return static_cast<size_t>(limit.rlim_cur);
}

bool IsAmongLast(int fd, size_t kept) {
  return fd >= 0 && static_cast<size_t>(fd) + kept >= DescriptorLimit();
}

SpareDescriptors::SpareDescriptors(size_t count) : count_(count) { Refill(); }

SpareDescriptors::~SpareDescriptors() { GiveUp(); }

void SpareDescriptors::GiveUp() {
  for (const int fd : spares_) close(fd);
  spares_.clear();
}

int SpareDescriptors::Accept(int listening) {
  GiveUp();
  return accept4(listening, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

void SpareDescriptors::Refill() {
  while (spares_.size() < count_) {
    const int fd = eventfd(0, EFD_CLOEXEC);
    if (fd < 0) return;
    spares_.push_back(fd);
  }
}

}  // namespace rum
