#include "agent-api/guest/run_watch.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <cstdlib>

#include "agent-api/guest/text_file.h"

namespace rum::guest {
namespace {

// What the kernel does not tell, such as a watch that was refused, shows after this.
constexpr int kMostQuietMs = 500;

int OpenLock(const std::string& folder) {
  return open((folder + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

// The lock alone tells; a folder that is gone has none.
bool Free(int lock) { return lock < 0 || flock(lock, LOCK_EX | LOCK_NB) == 0; }

}  // namespace

void WatchRun(const std::string& folder, const std::function<void()>& changed) {
  const int lock = OpenLock(folder);
  const int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  // A keeper that ends moves its outcome into place and closes its lock.
  inotify_add_watch(watch, folder.c_str(), IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE);
  while (!Free(lock)) {
    pollfd wait{watch, POLLIN, 0};
    const int ready = poll(&wait, 1, kMostQuietMs);
    char events[16 * 1024];
    while (read(watch, events, sizeof events) > 0) {
    }
    if (ready > 0) changed();
  }
  close(watch);
  if (lock >= 0) close(lock);
}

bool HasKeeper(const std::string& folder) {
  const int lock = open((folder + "/lock").c_str(), O_RDWR | O_CLOEXEC);
  const bool has = !Free(lock);
  if (lock >= 0) close(lock);
  return has;
}

int LockRun(const std::string& folder) {
  const int lock = OpenLock(folder);
  if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) == 0) return lock;
  close(lock);
  return -1;
}

int KeeperOf(const std::string& folder) {
  const int pid = std::atoi(ReadFile(folder + "/lock").c_str());
  return pid > 1 && HasKeeper(folder) ? pid : 0;
}

}  // namespace rum::guest
