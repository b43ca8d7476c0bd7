#include "controller/fleet/file_watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "agent-api/steady_now.h"

namespace rum {
namespace {

constexpr absl::Duration kQuiet = absl::Milliseconds(100);
constexpr absl::Duration kLongest = absl::Seconds(1);
constexpr absl::Duration kLongestWrite = absl::Seconds(5);
constexpr absl::Duration kReadAnyway = absl::Seconds(1);
constexpr absl::Duration kLook = absl::Seconds(2);
constexpr uint32_t kEnds = IN_CLOSE_WRITE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM;
constexpr uint32_t kEvents = kEnds | IN_MODIFY | IN_CREATE | IN_ATTRIB | IN_MOVE_SELF | IN_ONLYDIR;

// A name that has just come is empty until whoever made it writes: a link is not, nor is a file
// that was made elsewhere.
bool IsBegun(const FilePlace& place) {
  struct stat seen {};
  return lstat((place.folder + "/" + place.name).c_str(), &seen) == 0 && S_ISREG(seen.st_mode) &&
         seen.st_nlink == 1 && seen.st_size == 0;
}

}  // namespace

absl::Time FileWatch::Pending::due() const {
  if (writing()) return writing_since + kLongestWrite;
  return std::min(last + kQuiet, first + kLongest);
}

FileWatch::FileWatch(std::function<void(const std::string& path)> on_change, bool listens)
    : on_change_(std::move(on_change)),
      inotify_(listens ? inotify_init1(IN_NONBLOCK | IN_CLOEXEC) : -1),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      thread_([this] { Watch(); }) {}

FileWatch::~FileWatch() {
  stopping_ = true;
  Wake();
  thread_.join();
  if (inotify_ >= 0) close(inotify_);
  if (wake_ >= 0) close(wake_);
}

bool FileWatch::Add(const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto [found, fresh] = files_.try_emplace(path);
  Watched& watched = found->second;
  if (watched.told) return true;
  Settle(path, &watched);
  if (!fresh) return watched.told;
  watched.seen = LookAt(path);
  Wake();  // it may be the first one that has to be looked at
  return watched.told;
}

void FileWatch::Remove(const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex_);
  auto found = files_.find(path);
  if (found == files_.end()) return;
  for (const auto& [descriptor, ear] : found->second.ears) Forget(descriptor, ear);
  files_.erase(found);
  pending_.erase(path);
}

bool FileWatch::BeingWritten(const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex_);
  Read();  // what the thread has not come to yet
  Wake();
  const auto pending = pending_.find(path);
  if (pending == pending_.end() || !pending->second.writing()) return false;
  const auto watched = files_.find(path);
  return watched == files_.end() || SteadyNow() >= watched->second.read_anyway_until;
}

void FileWatch::Wake() {
  const uint64_t one = 1;
  (void)!write(wake_, &one, sizeof(one));
}

void FileWatch::Watch() {
  std::vector<pollfd> wait = {{wake_, POLLIN, 0}, {inotify_, POLLIN, 0}};
  while (!stopping_) {
    std::vector<std::string> due;
    int timeout = 0;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      Read();
      const absl::Time now = SteadyNow();
      if (now >= next_look_) LookAround(now);
      due = TakeDue(now);
      timeout = WaitMs(now);
    }
    for (const std::string& path : due) on_change_(path);
    if (!due.empty()) continue;
    uint64_t count = 0;
    if (poll(wait.data(), wait.size(), timeout) > 0 && wait[0].revents != 0) {
      (void)!read(wake_, &count, sizeof count);
    }
  }
}

void FileWatch::Read() {
  alignas(inotify_event) char buffer[16384];
  for (ssize_t size; (size = read(inotify_, buffer, sizeof(buffer))) > 0;) {
    const absl::Time now = SteadyNow();
    for (ssize_t at = 0; at < size;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
      Hear(*event, now);
    }
  }
}

void FileWatch::Hear(const inotify_event& event, absl::Time now) {
  if ((event.mask & IN_Q_OVERFLOW) != 0) {
    for (const auto& [path, watched] : files_) Mark(path, now);
    return;
  }
  const auto folder = ears_.find(event.wd);
  if (folder == ears_.end()) return;
  if ((event.mask & IN_MOVE_SELF) != 0) inotify_rm_watch(inotify_, event.wd);  // IN_IGNORED follows
  if ((event.mask & IN_IGNORED) != 0) {
    for (const Ear& ear : folder->second) {
      Watched& watched = files_[ear.path];
      watched.told = false;
      watched.ears.erase({event.wd, ear});
      Mark(ear.path, now);
    }
    ears_.erase(folder);
    return;
  }
  for (const Ear& ear : folder->second) {
    if (event.len == 0 || ear.place.name == event.name) HearOf(ear, event.mask, now);
  }
}

void FileWatch::HearOf(const Ear& ear, uint32_t mask, absl::Time now) {
  Pending& pending = Mark(ear.path, now);
  if ((mask & kEnds) != 0) {
    pending.writing_since = absl::InfiniteFuture();
  } else if ((mask & IN_MODIFY) != 0 || ((mask & IN_CREATE) != 0 && IsBegun(ear.place))) {
    pending.writing_since = std::min(pending.writing_since, now);
  }
}

FileWatch::Pending& FileWatch::Mark(const std::string& path, absl::Time now) {
  Pending& pending = pending_.try_emplace(path, Pending{now, now}).first->second;
  pending.last = now;
  return pending;
}

void FileWatch::Settle(const std::string& path, Watched* watched) {
  std::set<std::pair<int, Ear>> before;
  before.swap(watched->ears);
  watched->folders.clear();
  watched->told = true;
  for (const FilePlace& place : PlacesOf(path)) {
    // Before it is watched: should another one come in between, the next look finds it.
    watched->folders.try_emplace(place.folder, FolderAt(place.folder));
    // A folder that is watched already gives its descriptor again.
    const int descriptor = inotify_add_watch(inotify_, place.folder.c_str(), kEvents);
    if (descriptor < 0 || !TellsChanges(place.folder)) watched->told = false;
    if (descriptor < 0) continue;
    const Ear ear{path, place};
    watched->ears.insert({descriptor, ear});
    ears_[descriptor].insert(ear);
  }
  for (const auto& [descriptor, ear] : before) {
    if (watched->ears.count({descriptor, ear}) == 0) Forget(descriptor, ear);
  }
}

void FileWatch::Forget(int descriptor, const Ear& ear) {
  const auto folder = ears_.find(descriptor);
  if (folder == ears_.end()) return;
  folder->second.erase(ear);
  if (!folder->second.empty()) return;
  ears_.erase(folder);
  inotify_rm_watch(inotify_, descriptor);
}

void FileWatch::LookAround(absl::Time now) {
  next_look_ = now + kLook;
  for (auto& [path, watched] : files_) {
    const bool moved =
        std::any_of(watched.folders.begin(), watched.folders.end(),
                    [](const auto& folder) { return FolderAt(folder.first) != folder.second; });
    if (watched.told && !moved) continue;
    Settle(path, &watched);
    if (moved || LookAt(path) != watched.seen) Mark(path, now);
    watched.seen = LookAt(path);
  }
}

std::vector<std::string> FileWatch::TakeDue(absl::Time now) {
  std::vector<std::string> due;
  for (auto it = pending_.begin(); it != pending_.end();) {
    const auto watched = files_.find(it->first);
    if (it->second.due() > now) {
      ++it;
      continue;
    }
    if (watched != files_.end()) {
      // A link may lead elsewhere by now: from before it is read on, changes there count as well.
      Settle(it->first, &watched->second);
      watched->second.seen = LookAt(it->first);
      if (it->second.writing()) watched->second.read_anyway_until = now + kReadAnyway;
      due.push_back(it->first);
    }
    it = pending_.erase(it);
  }
  return due;
}

int FileWatch::WaitMs(absl::Time now) const {
  if (files_.empty()) return -1;
  absl::Time next = next_look_;
  for (const auto& [path, pending] : pending_) next = std::min(next, pending.due());
  return static_cast<int>(std::max<int64_t>(absl::ToInt64Milliseconds(next - now), 0)) + 1;
}

}  // namespace rum
