#include "controller/file_watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/time/clock.h"

namespace rum {
namespace {

constexpr absl::Duration kQuiet = absl::Milliseconds(100);
constexpr absl::Duration kLongest = absl::Seconds(1);
constexpr uint32_t kEvents =
    IN_CLOSE_WRITE | IN_MODIFY | IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM | IN_MOVE_SELF;

std::string FolderOf(const std::string& path) { return path.substr(0, path.rfind('/') + 1); }
std::string NameOf(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

FileWatch::FileWatch(std::function<void(const std::string& path)> on_change)
    : on_change_(std::move(on_change)),
      inotify_(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)),
      stop_(eventfd(0, EFD_CLOEXEC)),
      thread_([this] { Watch(); }) {}

FileWatch::~FileWatch() {
  const uint64_t one = 1;
  (void)!write(stop_, &one, sizeof(one));
  thread_.join();
  if (inotify_ >= 0) close(inotify_);
  if (stop_ >= 0) close(stop_);
}

bool FileWatch::Add(const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex_);
  int& descriptor = files_.try_emplace(path, -1).first->second;
  if (descriptor >= 0) return true;
  // A folder that is watched already gives its descriptor again.
  descriptor = inotify_add_watch(inotify_, FolderOf(path).c_str(), kEvents);
  if (descriptor >= 0) folders_[descriptor].insert(path);
  return descriptor >= 0;
}

void FileWatch::Remove(const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex_);
  auto found = files_.find(path);
  if (found == files_.end()) return;
  const int descriptor = found->second;
  files_.erase(found);
  auto folder = folders_.find(descriptor);
  if (folder == folders_.end()) return;
  folder->second.erase(path);
  if (!folder->second.empty()) return;
  folders_.erase(folder);
  inotify_rm_watch(inotify_, descriptor);
}

void FileWatch::Watch() {
  std::vector<pollfd> wait = {{stop_, POLLIN, 0}, {inotify_, POLLIN, 0}};
  while (true) {
    const int timeout = TellDue();
    if (poll(wait.data(), wait.size(), timeout) < 0) continue;
    if (wait[0].revents != 0) return;
    if (wait[1].revents != 0) Read();
  }
}

void FileWatch::Read() {
  alignas(inotify_event) char buffer[16384];
  const ssize_t size = read(inotify_, buffer, sizeof(buffer));
  const absl::Time now = absl::Now();
  std::lock_guard<std::mutex> lock(mutex_);
  for (ssize_t at = 0; at < size;) {
    const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
    at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
    Hear(*event, now);
  }
}

void FileWatch::Hear(const inotify_event& event, absl::Time now) {
  if ((event.mask & IN_Q_OVERFLOW) != 0) {
    for (const auto& [path, descriptor] : files_) Mark(path, now);
    return;
  }
  auto folder = folders_.find(event.wd);
  if (folder == folders_.end()) return;
  if ((event.mask & IN_MOVE_SELF) != 0) inotify_rm_watch(inotify_, event.wd);  // IN_IGNORED follows
  const bool gone = (event.mask & IN_IGNORED) != 0;
  for (const std::string& path : folder->second) {
    if (gone) files_[path] = -1;
    if (gone || (event.len > 0 && NameOf(path) == event.name)) Mark(path, now);
  }
  if (gone) folders_.erase(folder);
}

void FileWatch::Mark(const std::string& path, absl::Time now) {
  pending_.try_emplace(path, Pending{now, now}).first->second.last = now;
}

int FileWatch::TellDue() {
  const absl::Time now = absl::Now();
  absl::Time next = absl::InfiniteFuture();
  for (auto it = pending_.begin(); it != pending_.end();) {
    const absl::Time due = std::min(it->second.last + kQuiet, it->second.first + kLongest);
    if (due > now) {
      next = std::min(next, due);
      ++it;
      continue;
    }
    const std::string path = it->first;
    it = pending_.erase(it);
    on_change_(path);
  }
  if (next == absl::InfiniteFuture()) return -1;
  return static_cast<int>(absl::ToInt64Milliseconds(next - now)) + 1;
}

}  // namespace rum
