#ifndef RUM_CONTROLLER_FILE_WATCH_H_
#define RUM_CONTROLLER_FILE_WATCH_H_

#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "absl/time/time.h"

struct inotify_event;

namespace rum {

// Tells when files change, also by being replaced. Watches folders, since editors rename; one
// thread for all. Tells of a file once it has been quiet for 100 ms, and after 1 s at the latest.
class FileWatch {
 public:
  // `on_change` gets the path as it was given to Add, on the watch's own thread.
  explicit FileWatch(std::function<void(const std::string& path)> on_change);
  ~FileWatch();
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

  // `path` is absolute. False: it cannot be watched now, for want of its folder or of watches; then
  // adding it again tries again. Of one that is watched, again does nothing.
  bool Add(const std::string& path);
  void Remove(const std::string& path);

 private:
  struct Pending {
    absl::Time first;
    absl::Time last;
  };

  void Watch();
  void Read();
  // Both need the lock.
  void Hear(const inotify_event& event, absl::Time now);
  void Mark(const std::string& path, absl::Time now);
  int TellDue();  // returns how long to wait for the next, ms; -1: for ever

  const std::function<void(const std::string& path)> on_change_;
  const int inotify_;
  const int stop_;  // eventfd
  std::mutex mutex_;
  std::map<std::string, int> files_;              // to the watch descriptor of the folder, or -1
  std::map<int, std::set<std::string>> folders_;  // watch descriptor to the files in it
  std::map<std::string, Pending> pending_;        // the thread's own
  std::thread thread_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_FILE_WATCH_H_
